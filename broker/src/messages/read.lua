-- Reads messages of one partition by id; leaves out what is gone.
-- KEYS log
-- ARGV base tenant retention id ...
local log, base, tenant = KEYS[1], ARGV[1], ARGV[2]
local now = clock()
local oldest = floor_of(now - ARGV[3])
local rows = {}
for i = 4, #ARGV do
  local id = ARGV[i]
  local fields = oldest <= id and read(log, id)
  if fields and fields.r then
    local rest = tenant .. ':' .. fields.r
    local state = state_of(base .. 'pd:' .. rest, base .. 'bx:' .. rest, id, fields.due, now)
    if state then
      rows[#rows + 1] = row(id, state, fields)
    end
  end
end
return rows
