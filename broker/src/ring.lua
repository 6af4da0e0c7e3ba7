-- Rings: what was published of late, for those who were away meanwhile.
--
-- The ring of a tenant in a partition is a stream, `<prefix>:{<tag>}:rb:<tenant>`;
-- the annotations of a tenant have one of their own, `<prefix>:{<tag>}:ra:<tenant>`.
-- Producers may be allowed to write the former. What they spoil is made anew.
-- The fields of an entry, in this order:
--   t  the topic, <kind>:<id>
--   n  how many there have been since the ring was made, with this one
--   c  how many bytes those had
--   d  the event, JSON
-- So who reads the oldest entry knows whether any before it are gone, and what is
-- over the limits is found without looking at the rest.
-- Stands in front of every script that publishes on topics of users, channels and notes.

local RING_ENTRIES, RING_BYTES, RING_LIFE = 2000, 1048576, 600000

-- The channel's topic, without the tenant; nothing if it is not one of that ring's.
local function ring_topic(ring, channel)
  local prefix, kind, tenant = string.match(ring, '^(.*):{%x+}:(r[ab]):([a-z0-9-]+)$')
  local start = prefix and prefix .. ':c:' .. tenant .. ':'
  if start and string.sub(channel, 1, #start) == start then
    local topic = string.sub(channel, #start + 1)
    if (topic == 'channel:annotations') == (kind == 'ra') then
      return topic
    end
  end
end

-- What a count says that somebody else may have written; nothing if it is none.
local function count_of(text)
  return #text <= 15 and string.find(text, '^%d+$') and tonumber(text) or nil
end

-- How many there had been and their bytes with an entry; nothing if it is none of ours.
local function ring_counts(entry)
  local fields = entry[2]
  if #fields == 8 and fields[1] == 't' and fields[3] == 'n' and fields[5] == 'c' then
    return count_of(fields[4]), count_of(fields[6])
  end
end

-- Who publishes may let a ring expire, and need not be allowed to delete keys.
local function remove_ring(ring)
  redis.call('PEXPIRE', ring, 0)
end

local function add_to_ring(ring, topic, json)
  local last = redis.call('XREVRANGE', ring, '+', '-', 'COUNT', 1)[1]
  local n, c = 0, 0
  if last then
    n, c = ring_counts(last)
    if not n or not c then
      remove_ring(ring)
      n, c = 0, 0
    end
  end
  c = c + #json
  local id = redis.pcall('XADD', ring, 'MAXLEN', RING_ENTRIES, '*', 't', topic,
    'n', string.format('%.0f', n + 1), 'c', string.format('%.0f', c), 'd', json)
  return id, c
end

-- Adds an event to a ring and publishes it, its entry id in front, which comes back.
local function publish_in_ring(ring, channel, json)
  local topic = ring_topic(ring, channel)
  if not topic then
    error({ err = 'ERR the channel is of another ring' })
  end
  local id, c = add_to_ring(ring, topic, json)
  if id.err and string.find(id.err, 'last possible ID', 1, true) then
    remove_ring(ring)
    id, c = add_to_ring(ring, topic, json)
  end
  if id.err then
    error(id)
  end
  local first = redis.call('XRANGE', ring, '-', '+', 'COUNT', 1)[1]
  while first[1] ~= id do
    local _, before = ring_counts(first)
    if before and c - before + #first[2][8] <= RING_BYTES then
      break
    end
    redis.call('XDEL', ring, first[1])
    first = redis.call('XRANGE', ring, '-', '+', 'COUNT', 1)[1]
  end
  redis.call('PEXPIRE', ring, RING_LIFE)
  -- A producer may lack the right; then nobody shall find it there either.
  local told = redis.pcall('PUBLISH', channel, id .. ' ' .. json)
  if type(told) == 'table' then
    redis.call('XDEL', ring, id)
    error(told)
  end
  return id
end

