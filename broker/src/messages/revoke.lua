-- Cancels all that waits for a recipient, and ends its tokens and sockets.
-- KEYS pd bx ex revoked
-- ARGV rest channel payload retention remembered
-- Returns {cancelled, time}
local pd, bx, ex, revoked = unpack(KEYS)
local rest, channel, payload, retention, remembered = unpack(ARGV)
local now = clock()
local cancelled = 0
for _, id in ipairs(redis.call('ZRANGE', pd, 0, -1)) do
  if cancel(pd, bx, ex, rest, id, now, retention) then
    cancelled = cancelled + 1
  end
end
local at = string.format('%.0f', now)
redis.call('SET', revoked, at, 'PX', remembered)
redis.call('PUBLISH', channel, '0-0 ' .. payload)
return { cancelled, at }
