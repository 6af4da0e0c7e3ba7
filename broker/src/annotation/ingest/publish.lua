-- Publishes reports, each unless it was published before.
-- KEYS of each what remembers that it was published, and the ring it goes into
-- ARGV for how long to remember, in seconds; then of each the channel, 'kept' if
--      the ring keeps it or what stands in front of it if not, and the event, JSON
-- Returns 1 for each that was published now, 0 for each that had been.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local published = {}
for i = 1, #KEYS / 2 do
  local known, ring = KEYS[2 * i - 1], KEYS[2 * i]
  local channel, mark, event = unpack(ARGV, 3 * i - 1, 3 * i + 1)
  if redis.call('SET', known, '', 'NX', 'EX', ARGV[1]) then
    if mark == 'kept' then
      publish_in_ring(ring, channel, event)
    else
      redis.call('PUBLISH', channel, mark .. '{"ts":' .. now .. ',' .. string.sub(event, 2))
    end
    published[i] = 1
  else
    published[i] = 0
  end
end
return published
