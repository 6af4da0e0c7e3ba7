-- Takes an entry over from a worker that has not finished it.
-- KEYS intake
-- ARGV group, worker, how long ago it was taken at least (ms), id, the longest field
-- Returns its id and the fields that mean something, each at most a byte longer than
-- it may be: who took it first may have died of its length. Nothing if it is gone.
local entry = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4])[1]
if not entry or not entry[2] then
  return false
end
local meant = { type = true, topic = true, data = true, entry = true }
local fields = {}
for at = 1, #entry[2], 2 do
  local name, value = entry[2][at], entry[2][at + 1]
  if meant[name] then
    table.insert(fields, name)
    table.insert(fields, string.sub(value, 1, ARGV[5] + 1))
  end
end
return { entry[1], fields }
