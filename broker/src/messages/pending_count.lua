-- How many messages wait for a recipient, not counting what has expired.
-- KEYS pd ex
-- ARGV rest retention
local pd, ex = unpack(KEYS)
local now = clock()
local count = 0
for _, id in ipairs(redis.call('ZRANGE', pd, '[' .. floor_of(now - ARGV[2]), '+', 'BYLEX')) do
  local due = redis.call('ZSCORE', ex, id .. ' ' .. ARGV[1])
  if not due or now < tonumber(due) then
    count = count + 1
  end
end
return count
