-- Gives recipients their own copies of a global message.
-- KEYS log ex tenants gi gx
-- ARGV base tenant delivered cap retention id size expires|'' label name ...
-- Returns the ids of the copies, in order.
local log, ex, tenants, gi, gx = unpack(KEYS)
local base, tenant, delivered = ARGV[1], ARGV[2], ARGV[3] == '1'
local cap, retention = tonumber(ARGV[4]), tonumber(ARGV[5])
local global = { id = ARGV[6], size = ARGV[7], expires = tonumber(ARGV[8]) }
global.label = ARGV[9] ~= '' and string.sub(ARGV[9], 2) or nil
local now = clock()

local ids = {}
for i = 10, #ARGV do
  local rest = tenant .. ':' .. ARGV[i]
  local keys = { log = log, ex = ex, gi = gi, gx = gx, pd = base .. 'pd:' .. rest, bx = base .. 'bx:' .. rest }
  ids[#ids + 1] = copy(keys, rest, ARGV[i], global, delivered, now, cap, retention)
end
redis.call('SADD', tenants, tenant)
return ids
