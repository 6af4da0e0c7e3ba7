-- Gives a member of a group another role.
-- KEYS members groups_of user
-- ARGV ... group userid role
-- Returns how it went.
local members, groups_of, user = unpack(KEYS)
local id, userid, role = unpack(ARGV, 7)
local now = redis.call('HGET', groups_of, id)
if not now then
  return 'no member'
elseif now == role then
  return 'same'
end
redis.call('HSET', groups_of, id, role)
redis.call('HSET', members, userid, role)
tell(userid, '', id, role, session(userid, user))
return 'done'
