-- Releases scheduled messages that are due, the earliest first.
-- KEYS sc
-- ARGV base channels batch retention
-- Returns {seen, released, earliest due or ''}
local sc, base, channels, retention = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[4])
local now = clock()

local function quoted(field, text)
  return text and string.format(',"%s":', field) .. cjson.encode(text) or ''
end

-- As `message_payload` writes it, with the id, since the entry is another.
local function announce(topic, entry, id, fields)
  local body = string.format('"id":"%s","deliverAt":%.0f', entry_of(id), fields.a or 0)
  body = body .. quoted('message', fields.b) .. quoted('topic', fields.l)
  local expires = fields.x and string.format(',"x":%.0f', fields.x) or ''
  local event = string.format('{"v":1,"type":"message"%s,"body":{', expires) .. body .. '}}'
  redis.call('PUBLISH', channels .. topic, entry .. ' ' .. event)
end

-- One that expired or was cancelled meanwhile is not sent any more.
local function release(id, tenant, name)
  local rest = tenant .. ':' .. name
  local log, pd = base .. 'log:' .. tenant, base .. 'pd:' .. rest
  local fields = redis.call('ZSCORE', pd, id) and read(log, id)
  if not fields or (fields.x and fields.x <= now) then
    return 0
  end
  local entry = append(log, { 'o', id })
  place(base .. 'rl:' .. rest, pd, id_of(entry), id, floor_of(now - retention), retention)
  announce(tenant .. ':recipient:' .. name, entry, id, fields)
  return 1
end

local function release_global(id, tenant)
  local gl, ga = base .. 'gl:' .. tenant, base .. 'ga:' .. tenant
  local fields = read(gl, id)
  if not fields or (fields.x and fields.x <= now) then
    redis.call('HDEL', ga, id)
    return 0
  end
  local created = tonumber(string.sub(id, 1, 12), 16)
  local ends = math.min(fields.x or now + (tonumber(fields.w) or 0), created + retention)
  if now < ends then
    local label = fields.l and '=' .. fields.l or ''
    redis.call('HSET', ga, id, active(ends, #fields.b, fields.x, nil, label))
  else
    redis.call('HDEL', ga, id)
  end
  announce(tenant .. ':all:', string.format('%.0f-0', now), id, fields)
  return 1
end

local due = redis.call('ZRANGE', sc, '-inf', string.format('%.0f', now), 'BYSCORE', 'LIMIT', 0, ARGV[3], 'WITHSCORES')
local released = 0
for i = 1, #due, 2 do
  redis.call('ZREM', sc, due[i])
  local id, tenant, name = string.match(due[i], '^(%x+) ([^:]+):?(.*)$')
  if id and #id == 18 then
    released = released + (name ~= '' and release(id, tenant, name) or release_global(id, tenant))
  end
end
return { #due / 2, released, due[2] or '' }
