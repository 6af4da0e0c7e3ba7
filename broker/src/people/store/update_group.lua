-- Changes a group.
-- KEYS group
-- ARGV ... field value ...
-- Returns how it went.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 'no group'
end
for i = 7, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
return 'done'
