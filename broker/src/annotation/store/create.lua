-- Stores an annotation, joins the documents it is about, and tells of it.
-- ARGV ... id user uri normalised parent|'' group shared native version|'' client title
--   [reference ...] [claim ...] [field value ...] [group that the user is in ...]
local id, user, uri, normalised, parent, group = take(6)
local shared, native, version, client, title = take(5)
local references, claims, fields, mine = list(), list(), list(), set()

local root = id
if parent ~= '' then
  local found = redis.call('HMGET', place.an .. parent, 'group', 'version')
  if not found[1] then
    return { 'unknown parent', parent }
  end
  root = parent
  group = found[1]
  version = version == '' and found[2] or version
end
local refused, premoderated = refusal(group, uri, native, mine)
if refused then
  return refused
end

local at = string.format('%.0f', now())
local moderation = ''
if shared == '1' then
  moderation = premoderated and 'PENDING' or 'APPROVED'
end
redis.call('HSET', place.an .. id, 'user', user, 'uri', uri, 'normalised', normalised,
  'group', group, 'shared', shared, 'moderation', moderation, 'version', version == '0' and '' or version,
  'references', json_list(references), 'root', root, 'created', at, 'updated', at, unpack(fields))
local a = find(id)
for _, name in ipairs(indexes(a, references)) do
  redis.call('ZADD', place.ix .. name, at, id)
end
redis.call('ZADD', place.ix .. 'w:' .. normalised, at, id)
claim(claims, title)
return publish('create', a, client)
