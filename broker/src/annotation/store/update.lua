-- Changes an annotation of its author, and tells of it.
-- ARGV ... id user uri|'' normalised before|'' permissions|'' native version|'' client title most
--   [claim ...] [field value ...] [group that the user is in ...]
-- `before`: the claims were made for this address, which must be the annotation's
-- still. `permissions`: `private`, or `shared <whom with>`. A version of 0 is none.
local id, user, uri, normalised, before, permissions = take(6)
local native, version, client, title, most = take(5)
local claims, fields, mine = list(), list(), set()

local a = find(id)
if not a or a.user ~= user then
  return { 'not found' }
elseif before ~= '' and before ~= a.uri then
  return { 'again' }
end
if uri == '' then
  uri, normalised = a.uri, a.normalised
end
local refused, premoderated = refusal(a.group, uri, native, mine)
if refused then
  return refused
end
local members = #a.extra
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 2) == 'x:' and redis.call('HEXISTS', place.an .. id, fields[i]) == 0 then
    members = members + 1
  end
end
if tonumber(most) < members then
  return { 'too many members' }
end

local shared = a.shared
if permissions ~= '' then
  shared = permissions == 'shared group:' .. a.group and '1' or '0'
end
local moderation = a.moderation
if shared == '1' then
  if moderation == '' then
    moderation = premoderated and 'PENDING' or 'APPROVED'
  elseif premoderated and moderation == 'APPROVED' or moderation == 'DENIED' then
    moderation = 'PENDING'
  end
end
if version == '' then
  version = a.version
end
-- No two states of an annotation have the same time.
local at = string.format('%.0f', math.max(now(), a.updated + 1))
redis.call('HSET', place.an .. id, 'uri', uri, 'normalised', normalised, 'shared', shared,
  'moderation', moderation, 'version', version == '0' and '' or version, 'updated', at, unpack(fields))
if normalised ~= a.normalised then
  redis.call('ZREM', place.ix .. 'w:' .. a.normalised, id)
  redis.call('ZADD', place.ix .. 'w:' .. normalised, a.created, id)
end
if 0 < #claims then
  claim(claims, title)
end
return publish('update', find(id), client)
