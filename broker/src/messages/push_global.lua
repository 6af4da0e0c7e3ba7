-- Stores a global message and publishes it, once per idempotency key.
-- KEYS gl ga tenants [idempotency]
-- ARGV tenant channel payload expires|'' life cap retention remembered size label field value ...
-- Returns {id}, or the row made earlier.
local gl, ga, tenants, known = unpack(KEYS)
local tenant, channel, payload = unpack(ARGV, 1, 3)
local expires, life, cap, retention = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local now = clock()

if known then
  local id = redis.call('GET', known)
  local fields = id and floor_of(now - retention) <= id and read(gl, id)
  if fields then
    return row(id, 'G', fields)
  end
end

if cap <= redis.call('HLEN', ga) then
  drop_inactive(ga, now)
end
if cap <= redis.call('HLEN', ga) then
  local active = redis.call('HKEYS', ga)
  table.sort(active)
  redis.call('HDEL', ga, active[1])
end

local entry = string.format('%d-%d', now, GLOBALS)
if redis.call('EXISTS', gl) == 1 then
  local info = redis.call('XINFO', 'STREAM', gl)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      local ms, seq = string.match(info[i + 1], '^(%d+)-(%d+)$')
      if now <= tonumber(ms) then
        entry = string.format('%d-%d', ms, seq + 1)
      end
    end
  end
end
redis.call('XADD', gl, entry, unpack(ARGV, 11))
local id = id_of(entry)
redis.call('SADD', tenants, tenant)
if known then
  redis.call('SET', known, id, 'PX', ARGV[8])
end
-- No longer than the retention: so long its copies are told apart.
local ends = math.min(expires or now + life, now + retention)
if now < ends then
  local value = string.format('%.0f %s %s', ends, ARGV[9], expires and ARGV[4] or '-')
  redis.call('HSET', ga, id, value .. ARGV[10])
end
if not expires or now < expires then
  redis.call('PUBLISH', channel, entry .. ' ' .. payload)
end
return { id }
