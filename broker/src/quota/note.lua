-- Notes how many sockets of a tenant a gateway has, unless that is more than there
-- may be together with those of the others.
-- KEYS counts
-- ARGV node sockets stale limit|''
-- Returns whether it was noted
local counts, node = KEYS[1], ARGV[1]
local sockets, stale, limit = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local all = sockets
local said = redis.call('HGETALL', counts)
for i = 1, #said, 2 do
  local count, at = string.match(said[i + 1], '^(%d+) (%d+)$')
  if not at or tonumber(at) + stale < now then
    redis.call('HDEL', counts, said[i])
  elseif said[i] ~= node then
    all = all + tonumber(count)
  end
end
if limit and limit < all then
  return 0
end
if sockets == 0 then
  redis.call('HDEL', counts, node)
else
  redis.call('HSET', counts, node, string.format('%d %.0f', sockets, now))
  redis.call('PEXPIRE', counts, 4 * stale)
end
return 1
