-- Reads a ring from an entry on.
-- KEYS ring
-- ARGV id of the entry
-- Returns the time in milliseconds; if there is a ring also the id of its oldest
-- entry, how many there had been with that one, and the id of its newest; then of
-- each entry its id, topic and event.
local time = redis.call('TIME')
local found = { string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)) }
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if not oldest then
  return found
end
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
found[2], found[3], found[4] = oldest[1], string.format('%.0f', ring_counts(oldest) or 0), newest[1]
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+')) do
  if ring_counts(entry) then
    local at = #found
    found[at + 1], found[at + 2], found[at + 3] = entry[1], entry[2][2], entry[2][8]
  end
end
return found
