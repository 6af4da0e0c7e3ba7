-- Cancels pending messages that expired more than the grace ago.
-- KEYS ex
-- ARGV base grace batch retention
-- Returns {seen, cancelled, earliest expiry seen or ''}
local ex, base, retention = KEYS[1], ARGV[1], ARGV[4]
local until_ms = string.format('%.0f', clock() - ARGV[2])
local due = redis.call('ZRANGE', ex, '-inf', until_ms, 'BYSCORE', 'LIMIT', 0, ARGV[3], 'WITHSCORES')
local cancelled = 0
for i = 1, #due, 2 do
  local id, rest = string.match(due[i], '^(%x+) (.*)$')
  redis.call('ZREM', ex, due[i])
  if redis.call('ZREM', base .. 'pd:' .. rest, id) == 1 then
    finish(base .. 'bx:' .. rest, id, 'C', tonumber(due[i + 1]), retention)
    cancelled = cancelled + 1
  end
end
return { #due / 2, cancelled, due[2] or '' }
