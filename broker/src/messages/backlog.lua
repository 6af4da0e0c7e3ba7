-- Claims active global messages for a recipient, then reads what is pending.
-- KEYS log pd bx ex tenants, then gi gx of each global message
-- ARGV rest tenant name label after|'' count bytes cap retention,
--      then id until size expires|'' label of each global message
-- Returns {more, rows}
local log, pd, bx, ex, tenants = unpack(KEYS, 1, 5)
local rest, tenant, name, label, after = unpack(ARGV, 1, 5)
local count, bytes = tonumber(ARGV[6]), tonumber(ARGV[7])
local cap, retention = tonumber(ARGV[8]), tonumber(ARGV[9])
local now = clock()
local oldest = floor_of(now - retention)

for i = 0, (#ARGV - 9) / 5 - 1 do
  local id, ends, size, expires, of = unpack(ARGV, 10 + 5 * i, 14 + 5 * i)
  local gi, gx = KEYS[6 + 2 * i], KEYS[7 + 2 * i]
  local known = redis.call('HMGET', gi, name, '')
  if not known[1] and not known[2] and now < tonumber(ends) then
    local keys = { log = log, pd = pd, bx = bx, ex = ex, gi = gi, gx = gx }
    local global = { id = id, size = size, expires = tonumber(expires) }
    global.label = of ~= '' and string.sub(of, 2) or nil
    copy(keys, rest, name, global, false, now, cap, retention)
    redis.call('SADD', tenants, tenant)
  end
end

local rows, size = {}, 0
local function take(id)
  local fields = oldest <= id and read(log, id)
  if not fields then
    redis.call('ZREM', pd, id)
    return true
  end
  local expired = fields.x and fields.x <= now
  if expired or (fields.l and label ~= '=' .. fields.l) then
    return true
  end
  local length = fields.b and #fields.b or tonumber(fields.n) or 0
  if count <= #rows or (0 < #rows and bytes < size + length) then
    return false
  end
  size = size + length
  rows[#rows + 1] = row(id, 'P', fields)
  return true
end

local from = after == '' and '-' or '(' .. after
repeat
  local ids = redis.call('ZRANGE', pd, from, '+', 'BYLEX', 'LIMIT', 0, 64)
  for _, id in ipairs(ids) do
    if not take(id) then
      return { 1, rows }
    end
    from = '(' .. id
  end
until #ids < 64
return { 0, rows }
