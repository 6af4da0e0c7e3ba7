-- Changes what is known of a user.
-- KEYS user
-- ARGV ... new|any field value ...; an empty value removes the field
-- Returns how it went.
local user = KEYS[1]
local mode = ARGV[7]
if redis.call('HGET', user, 'deleted') then
  return 'deleted'
elseif mode == 'new' and redis.call('EXISTS', user) == 1 then
  return 'exists'
end
redis.call('HSETNX', user, 'created', redis.call('TIME')[1])
for i = 8, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', user, ARGV[i])
  else
    redis.call('HSET', user, ARGV[i], ARGV[i + 1])
  end
end
return 'done'
