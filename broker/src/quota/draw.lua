-- Draws from a bucket that fills at a rate per second and holds a second's worth.
-- KEYS bucket
-- ARGV rate least most
-- Returns {drawn, 0}, or {0, milliseconds until there will be enough}
local rate, least, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local known = redis.call('HMGET', KEYS[1], 'left', 'at')
local left = rate
if known[1] and known[2] then
  -- A clock that was set back fills nothing.
  local passed = math.max(now - tonumber(known[2]), 0)
  left = math.min(rate, tonumber(known[1]) + passed * rate / 1000)
end
if left < least then
  return { 0, math.max(math.ceil((least - left) * 1000 / math.max(rate, 1)), 1) }
end
local drawn = math.min(most, math.floor(left))
redis.call('HSET', KEYS[1], 'left', string.format('%.3f', left - drawn), 'at', string.format('%.3f', now))
redis.call('PEXPIRE', KEYS[1], 2000)
return { drawn, 0 }
