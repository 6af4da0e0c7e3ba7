-- Stores a message for one recipient and publishes it, once per idempotency key.
-- One that is due later is only stored; one that was due earlier is released.
-- KEYS log pd bx ex tenants rl [idempotency]
-- ARGV rest tenant channel payload expires|'' due|'' cap retention remembered field value ...
-- Returns {id, state, cancelled by the cap}, or the row made earlier.
local log, pd, bx, ex, tenants, rl, known = unpack(KEYS)
local rest, tenant, channel, payload = unpack(ARGV, 1, 4)
local expires, due = tonumber(ARGV[5]), tonumber(ARGV[6])
local cap, retention = tonumber(ARGV[7]), tonumber(ARGV[8])
local now = clock()
local oldest = floor_of(now - retention)

if known then
  local id = redis.call('GET', known)
  local fields = id and oldest <= id and read(log, id)
  local state = fields and state_of(pd, bx, id, fields.due, now)
  if state then
    return row(id, state, fields)
  end
end

-- First, because a Redis that is full refuses only what a script begins with.
local entry = append(log, { unpack(ARGV, 10) })
local id = id_of(entry)
redis.call('ZREMRANGEBYLEX', pd, '-', '(' .. oldest)
redis.call('ZREMRANGEBYLEX', bx, '-', '(' .. oldest)
local late = expires and expires <= now
local cancelled = 0
if not late then
  cancelled = make_room(pd, bx, ex, rest, cap, now, retention)
end
redis.call('SADD', tenants, tenant)
if known then
  redis.call('SET', known, id, 'PX', ARGV[9])
end
if late then
  finish(bx, id, 'C', expires, retention)
  return { id, string.format('C%.0f', expires), 0 }
end
wait(pd, ex, rest, id, expires, retention)
if due and now < due then
  redis.call('ZADD', schedule_of(ex), due, id .. ' ' .. rest)
  return { id, 'P', cancelled }
elseif due then
  place(rl, pd, id, id, oldest, retention)
end
redis.call('PUBLISH', channel, entry .. ' ' .. payload)
return { id, 'P', cancelled }
