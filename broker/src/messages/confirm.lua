-- Which entries there are, and then a write: a replica that has this has them too.
-- KEYS marker log
-- ARGV entry ...
-- Returns 1 or 0 for each.
local found = {}
for i, entry in ipairs(ARGV) do
  found[i] = #redis.call('XRANGE', KEYS[2], entry, entry)
end
redis.call('SET', KEYS[1], '', 'PX', 60000)
return found
