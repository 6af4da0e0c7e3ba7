-- Marks a user as gone, takes them out of their groups, and ends their sockets.
-- KEYS user groups_of
-- ARGV ... userid payload
-- Returns how it went.
local user, groups_of = unpack(KEYS)
local userid, payload = unpack(ARGV, 7)
redis.call('DEL', user)
redis.call('HSET', user, 'deleted', '1')
for _, id in ipairs(redis.call('HKEYS', groups_of)) do
  redis.call('HDEL', place.members .. id, userid)
end
redis.call('DEL', groups_of)
redis.call('PUBLISH', place.topic .. userid, '0-0 ' .. payload)
return 'done'
