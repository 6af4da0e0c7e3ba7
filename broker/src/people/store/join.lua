-- Lets a user into a group. One who is in it already stays as what they are.
-- KEYS group members groups_of user
-- ARGV ... group userid role most-groups most-members
-- Returns how it went.
local group, members, groups_of, user = unpack(KEYS)
local id, userid, role, most_groups, most_members = unpack(ARGV, 7)
if redis.call('EXISTS', group) == 0 then
  return 'no group'
elseif redis.call('HGET', user, 'deleted') then
  return 'deleted'
elseif redis.call('HEXISTS', groups_of, id) == 1 then
  return 'same'
elseif tonumber(most_groups) <= redis.call('HLEN', groups_of)
  or tonumber(most_members) <= redis.call('HLEN', members) then
  return 'full'
end
enter(userid, user, id, role)
return 'done'
