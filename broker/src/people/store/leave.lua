-- Takes a user out of a group.
-- KEYS members groups_of user
-- ARGV ... group userid
-- Returns how it went.
local members, groups_of, user = unpack(KEYS)
local id, userid = unpack(ARGV, 7)
if redis.call('HDEL', groups_of, id) == 0 then
  return 'same'
end
redis.call('HDEL', members, userid)
tell(userid, 'group-leave', id, '', session(userid, user))
return 'done'
