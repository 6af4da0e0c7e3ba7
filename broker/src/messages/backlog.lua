-- Claims active global messages for a recipient, then reads what a socket of it
-- has not been sent: what is pending, and what other sockets took since it opened.
-- KEYS log pd bx ex tenants rl revoked, then gi gx of each global message
-- ARGV rest tenant name label after|'' count bytes cap retention since|'',
--      then id until size expires|'' label of each global message
-- Returns {more, rows, when the recipient was last revoked or false, cancelled by the cap}
local log, pd, bx, ex, tenants, rl, revoked = unpack(KEYS, 1, 7)
local rest, tenant, name, label, after = unpack(ARGV, 1, 5)
local count, bytes = tonumber(ARGV[6]), tonumber(ARGV[7])
local cap, retention = tonumber(ARGV[8]), tonumber(ARGV[9])
local since = ARGV[10]
local now = clock()
local oldest = floor_of(now - retention)
local cancelled = 0

for i = 0, (#ARGV - 10) / 5 - 1 do
  local id, ends, size, expires, of = unpack(ARGV, 11 + 5 * i, 15 + 5 * i)
  local gi, gx = KEYS[8 + 2 * i], KEYS[9 + 2 * i]
  local known = redis.call('HMGET', gi, name, '')
  if not known[1] and not known[2] and now < tonumber(ends) then
    local keys = { log = log, pd = pd, bx = bx, ex = ex, gi = gi, gx = gx }
    local global = { id = id, size = size, ends = tonumber(ends), expires = tonumber(expires) }
    global.label = of ~= '' and string.sub(of, 2) or nil
    local _, crowded_out = copy(keys, rest, name, global, false, now, cap, retention)
    cancelled = cancelled + crowded_out
    redis.call('SADD', tenants, tenant)
  end
end

local rows, size = {}, 0
local function take(id, state, at)
  if #id ~= 18 or string.find(id, '%X') then
    -- No message has such an id. It is told of once.
    redis.call('ZREM', pd, id)
    rows[#rows + 1] = { id, 'P', false, false, false, false, false, false, false }
    return true
  end
  local fields = oldest <= id and read(log, id)
  if not fields then
    redis.call('ZREM', pd, id)
    return true
  end
  local expired = fields.due and fields.due <= now
  -- What was scheduled has its turn in the place of its release.
  local elsewhere = fields.a and not at
  if expired or elsewhere or (fields.l and label ~= '=' .. fields.l) then
    return true
  end
  local length = fields.b and #fields.b or tonumber(fields.n) or 0
  if count <= #rows or (0 < #rows and bytes < size + length) then
    return false
  end
  size = size + length
  rows[#rows + 1] = row(id, state, fields, at)
  return true
end

-- The members of a set from `from` on, a few at a time, oldest first.
local function members(key, from)
  local found, at, last = {}, 0, false
  return function(taken)
    at = at + (taken and 1 or 0)
    if at == #found and not last then
      found = redis.call('ZRANGE', key, from, '+', 'BYLEX', 'LIMIT', 0, 64)
      at, last = 0, #found < 64
      from = '(' .. (found[#found] or '')
    end
    return found[at + 1]
  end
end

local scheduled = schedule_of(ex)
local some_scheduled = redis.call('EXISTS', scheduled) == 1
local from = since ~= '' and floor_of(tonumber(since))

-- The sets to read, and what a member of each stands for: an id, its state, and
-- its place if that is not the id. Every member begins with its place.
local waiting = { members(pd, after == '' and '-' or '(' .. after), function(id)
  local later = some_scheduled and redis.call('ZSCORE', scheduled, id .. ' ' .. rest)
  return id, later and 'C' or 'P'
end }
local released = { members(rl, after == '' and '-' or '(' .. after .. '~'), function(member)
  local at, id = string.sub(member, 1, 18), string.sub(member, 19)
  if redis.call('ZSCORE', pd, id) then
    return id, 'P', at
  end
  return id, from and from <= at and ended(bx, id) or 'C', at
end }
local sets = { waiting, released }
if from then
  -- `~` is behind every state, so what ended as `after` is left out.
  sets[3] = { members(bx, from <= after and '(' .. after .. '~' or '[' .. from), function(member)
    return string.sub(member, 1, 18), string.sub(member, 19)
  end }
end
while true do
  local set, first
  for _, other in ipairs(sets) do
    local member = other[1]()
    if member and (not first or string.sub(member, 1, 18) < string.sub(first, 1, 18)) then
      set, first = other, member
    end
  end
  if not set then
    return { 0, rows, redis.call('GET', revoked), cancelled }
  end
  local id, state, at = set[2](first)
  if string.sub(state, 1, 1) ~= 'C' and not take(id, state, at) then
    return { 1, rows, redis.call('GET', revoked), cancelled }
  end
  set[1](true)
end
