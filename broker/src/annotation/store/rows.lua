-- What a search looks at, of the annotations of these ids that there are.
-- ARGV ... [id ...]
local reach, banned = {}, {}
local found = {}
for _, id in ipairs(list()) do
  local a = redis.call('HMGET', place.an .. id, 'group', 'user', 'shared', 'moderation',
    'created', 'updated', 'normalised', 'version', 'references')
  local group, user = a[1], a[2]
  if group then
    reach[group] = reach[group] or readable(group)
    if banned[user] == nil then
      banned[user] = redis.call('HGET', place.user .. user, 'banned') == '1'
    end
    table.insert(found, { id, reach[group], banned[user] and '1' or '0', unpack(a) })
  end
end
return found
