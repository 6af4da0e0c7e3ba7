-- Sets what moderators think of an annotation, and tells of it.
-- ARGV ... id status updated|'' status-before|'' client [group that the user moderates ...]
local id, status, updated, before, client = take(5)
local mine = set()
local a = find(id)
if not a or a.shared ~= '1' or not mine[a.group] then
  return { 'not found' }
elseif updated ~= '' and updated ~= a.updated then
  return { 'changed' }
elseif before ~= '' and before ~= (a.moderation == '' and 'APPROVED' or a.moderation) then
  return { 'moderated' }
end
redis.call('HSET', place.an .. id, 'moderation', status)
a.moderation = status
return publish('update', a, client)
