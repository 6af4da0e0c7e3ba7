-- Stores a global message and publishes it, once per idempotency key. One that
-- is due later is only stored.
-- KEYS gl ga tenants sc [idempotency]
-- ARGV tenant channel payload expires|'' due|'' life cap retention remembered size label field value ...
-- Returns {id}, or the row made earlier.
local gl, ga, tenants, sc, known = unpack(KEYS)
local tenant, channel, payload = unpack(ARGV, 1, 3)
local expires, due, life = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local cap, retention = tonumber(ARGV[7]), tonumber(ARGV[8])
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
  redis.call('ZREM', sc, active[1] .. ' ' .. tenant)
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
redis.call('XADD', gl, entry, unpack(ARGV, 12))
local id = id_of(entry)
redis.call('SADD', tenants, tenant)
if known then
  redis.call('SET', known, id, 'PX', ARGV[9])
end
local scheduled = due and now < due
-- No longer than the retention: so long its copies are told apart.
local ends = math.min(expires or (scheduled and due or now) + life, now + retention)
if scheduled or now < ends then
  redis.call('HSET', ga, id, active(ends, ARGV[10], expires, scheduled and due, ARGV[11]))
end
if scheduled then
  redis.call('ZADD', sc, due, id .. ' ' .. tenant)
elseif not expires or now < expires then
  redis.call('PUBLISH', channel, entry .. ' ' .. payload)
end
return { id }
