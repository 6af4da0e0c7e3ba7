-- Cancels the pending copies of a global message and lets no further one wait.
-- KEYS gi ex
-- ARGV base tenant retention cursor
-- Returns the next cursor, 0 at the end.
local gi, ex = unpack(KEYS)
local base, tenant, retention, cursor = unpack(ARGV)
local now = clock()
redis.call('HSET', gi, '', 'C')
redis.call('PEXPIRE', gi, 2 * retention)
local page = redis.call('HSCAN', gi, cursor, 'COUNT', 200)
for i = 1, #page[2], 2 do
  local name, id = page[2][i], page[2][i + 1]
  if name ~= '' then
    local rest = tenant .. ':' .. name
    cancel(base .. 'pd:' .. rest, base .. 'bx:' .. rest, ex, rest, id, now, retention)
  end
end
return page[1]
