-- Gives recipients their own copies of a global message.
-- KEYS log ex tenants gi gx
-- ARGV base tenant delivered cap retention id until size expires|'' label name ...
-- Returns {cancelled by the cap, ids of the copies, in order}
local log, ex, tenants, gi, gx = unpack(KEYS)
local base, tenant, delivered = ARGV[1], ARGV[2], ARGV[3] == '1'
local cap, retention = tonumber(ARGV[4]), tonumber(ARGV[5])
local global = { id = ARGV[6], ends = tonumber(ARGV[7]), size = ARGV[8], expires = tonumber(ARGV[9]) }
global.label = ARGV[10] ~= '' and string.sub(ARGV[10], 2) or nil
local now = clock()

local ids, cancelled = {}, 0
for i = 11, #ARGV do
  local rest = tenant .. ':' .. ARGV[i]
  local keys = { log = log, ex = ex, gi = gi, gx = gx, pd = base .. 'pd:' .. rest, bx = base .. 'bx:' .. rest }
  local id, crowded_out = copy(keys, rest, ARGV[i], global, delivered, now, cap, retention)
  ids[#ids + 1], cancelled = id, cancelled + crowded_out
end
redis.call('SADD', tenants, tenant)
return { cancelled, ids }
