-- Walks messages from new to old and names those that match.
-- KEYS log, then sorted sets of ids if not the whole log is walked
-- ARGV below|'' from count retention recipient|'' global|'' label expires_from|'' expires_to|''
-- `below` and `from` bound the ids walked, below exclusive.
-- Returns {last id walked or '', whether the end was reached, id ...}
local log = KEYS[1]
local below, from, count, retention = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local recipient, global, label = ARGV[5], ARGV[6], ARGV[7]
local expires_from, expires_to = tonumber(ARGV[8]), tonumber(ARGV[9])
local oldest = floor_of(clock() - retention) .. '000000'
if from < oldest then
  from = oldest
end
if below ~= '' and below <= from then
  return { '', '1' }
end

local function matches(fields)
  if fields.o then
    -- The place of a message that was scheduled.
    return false
  elseif (recipient ~= '' and fields.r ~= recipient) or (global ~= '' and fields.g ~= global) then
    return false
  end
  if label ~= '' and (not fields.l or label ~= '=' .. fields.l) then
    return false
  end
  if not expires_from and not expires_to then
    return true
  end
  return fields.x ~= nil and (not expires_from or expires_from <= fields.x)
    and (not expires_to or fields.x <= expires_to)
end

local walked, last = 0, ''
local found = {}
local function walk(id, fields)
  walked, last = walked + 1, id
  if fields and matches(fields) then
    found[#found + 1] = id
  end
end

if #KEYS == 1 then
  local top = below == '' and '+' or '(' .. entry_of(below)
  for _, entry in ipairs(redis.call('XREVRANGE', log, top, entry_of(from), 'COUNT', count)) do
    walk(id_of(entry[1]), fields_of(entry))
  end
else
  local top = below == '' and '+' or '(' .. below
  local ids = {}
  for i = 2, #KEYS do
    local some = redis.call('ZRANGE', KEYS[i], top, '[' .. from, 'BYLEX', 'REV', 'LIMIT', 0, count)
    for _, member in ipairs(some) do
      ids[#ids + 1] = string.sub(member, 1, 18)
    end
  end
  table.sort(ids, function(a, b) return a > b end)
  for i = 1, math.min(count, #ids) do
    walk(ids[i], read(log, ids[i]))
  end
end
return { last, walked < count and '1' or '0', unpack(found) }
