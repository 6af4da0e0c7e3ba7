-- Makes a group, whose creator enters it as its owner.
-- KEYS group groups user-of-creator annotations-of-group
-- ARGV ... id creator most field value ...
-- Returns how it went.
local group, groups, user, annotations = unpack(KEYS)
local id, creator, most = unpack(ARGV, 7, 9)
if redis.call('EXISTS', group) == 1 then
  return 'exists'
elseif redis.call('EXISTS', annotations) == 1 then
  return 'used'
elseif redis.call('HGET', user, 'deleted') then
  return 'deleted'
elseif tonumber(most) <= redis.call('HLEN', place.groups_of .. creator) then
  return 'full'
end
redis.call('HSET', group, 'created', redis.call('TIME')[1], unpack(ARGV, 10))
redis.call('SADD', groups, id)
enter(creator, user, id, 'owner')
return 'done'
