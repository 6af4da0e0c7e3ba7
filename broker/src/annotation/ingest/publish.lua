-- Publishes reports, each unless it was published before.
-- KEYS what remembers that a report was published, one each
-- ARGV for how long, in seconds; then of each the channel, what stands in front
--      of the event, and the event, JSON
-- Returns 1 for each that was published now, 0 for each that had been.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local published = {}
for i, known in ipairs(KEYS) do
  if redis.call('SET', known, '', 'NX', 'EX', ARGV[1]) then
    local channel, mark, event = ARGV[3 * i - 1], ARGV[3 * i], ARGV[3 * i + 1]
    redis.call('PUBLISH', channel, mark .. '{"ts":' .. now .. ',' .. string.sub(event, 2))
    published[i] = 1
  else
    published[i] = 0
  end
end
return published
