-- Cancels a message if it is pending.
-- KEYS log ex
-- ARGV base tenant id retention
-- Returns its row after, or nil.
local log, ex = unpack(KEYS)
local base, tenant, id, retention = unpack(ARGV)
local now = clock()
local fields = floor_of(now - retention) <= id and read(log, id)
if not (fields and fields.r) then
  return false
end
local rest = tenant .. ':' .. fields.r
local pd, bx = base .. 'pd:' .. rest, base .. 'bx:' .. rest
cancel(pd, bx, ex, rest, id, now, retention)
local state = ended(bx, id)
return state and row(id, state, fields)
