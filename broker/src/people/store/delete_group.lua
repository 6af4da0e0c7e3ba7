-- Removes a group. Clients are not told, but no gateway goes on taking its
-- members for members: the id may be given again if nothing was shared there.
-- KEYS group members groups
-- ARGV ... group
-- Returns how it went.
local group, members, groups = unpack(KEYS)
local id = ARGV[7]
if redis.call('DEL', group) == 0 then
  return 'no group'
end
redis.call('SREM', groups, id)
for _, userid in ipairs(redis.call('HKEYS', members)) do
  redis.call('HDEL', place.groups_of .. userid, id)
  tell(userid, '', id, '')
end
redis.call('DEL', members)
return 'done'
