-- Forgets global messages: as active ones once they are not sent any more,
-- entirely once no copy of them can be read any more.
-- KEYS gl ga
-- ARGV retention
-- Returns how many went entirely.
local now = clock()
drop_inactive(KEYS[2], now)
return redis.call('XTRIM', KEYS[1], 'MINID', '=', string.format('%.0f', math.max(now - 2 * ARGV[1], 0)))
