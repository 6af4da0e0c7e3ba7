-- Rings: what was published of late, for those who were away meanwhile.
--
-- The ring of a tenant in a partition is a stream, `<prefix>:{<tag>}:rb:<tenant>`.
-- The fields of an entry, in this order:
--   t  the topic, <kind>:<id>
--   n  how many there have been since the ring was made, with this one
--   c  how many bytes those had
--   d  the event, JSON
-- So who reads the oldest entry knows whether any before it are gone, and what is
-- over the limits is found without looking at the rest.
-- Stands in front of every script that publishes on topics of users, channels and notes.

local RING_ENTRIES, RING_BYTES, RING_LIFE = 2000, 1048576, 600000

-- The channel's topic, without the tenant; nothing if it is not one of the ring's tenant.
local function ring_topic(ring, channel)
  local prefix, tenant = string.match(ring, '^(.*):{%x+}:rb:([a-z0-9-]+)$')
  local start = prefix and prefix .. ':c:' .. tenant .. ':'
  if start and string.sub(channel, 1, #start) == start then
    return string.sub(channel, #start + 1)
  end
end

-- Adds an event to a ring and publishes it, its entry id in front, which comes back.
local function publish_in_ring(ring, channel, json)
  local n, c = 1, #json
  local last = redis.call('XREVRANGE', ring, '+', '-', 'COUNT', 1)[1]
  if last then
    n, c = n + last[2][4], c + last[2][6]
  end
  local id = redis.call('XADD', ring, 'MAXLEN', RING_ENTRIES, '*', 't', ring_topic(ring, channel),
    'n', string.format('%.0f', n), 'c', string.format('%.0f', c), 'd', json)
  local first = redis.call('XRANGE', ring, '-', '+', 'COUNT', 1)[1]
  while RING_BYTES < c - first[2][6] + #first[2][8] and first[1] ~= id do
    redis.call('XDEL', ring, first[1])
    first = redis.call('XRANGE', ring, '-', '+', 'COUNT', 1)[1]
  end
  redis.call('PEXPIRE', ring, RING_LIFE)
  redis.call('PUBLISH', channel, id .. ' ' .. json)
  return id
end

