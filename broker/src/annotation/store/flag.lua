-- Notes that a user objects to an annotation. One more than `most` says nothing new.
-- ARGV ... id user most
local id, user, most = take(3)
if redis.call('EXISTS', place.an .. id) == 0 then
  return { 'not found' }
end
local flags = place.an .. id .. ':flags'
if redis.call('SCARD', flags) < tonumber(most) then
  redis.call('SADD', flags, user)
end
return { 'done' }
