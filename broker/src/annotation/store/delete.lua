-- Removes an annotation of its author, and tells of it.
-- ARGV ... id user client
local id, user, client = take(3)
local a = find(id)
if not a or a.user ~= user then
  return { 'not found' }
end
redis.call('DEL', place.an .. id, place.an .. id .. ':flags')
for _, name in ipairs(indexes(a, cjson.decode(a.references))) do
  redis.call('ZREM', place.ix .. name, id)
end
redis.call('ZREM', place.ix .. 'w:' .. a.normalised, id)
return publish('delete', a, client)
