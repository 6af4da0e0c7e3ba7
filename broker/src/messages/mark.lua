-- Marks messages delivered.
-- KEYS ex
-- ARGV base retention, then rest id of each
-- Returns a letter for each: D delivered now, A was already, C cancelled or gone.
local ex, base, retention = KEYS[1], ARGV[1], ARGV[2]
local now = clock()
local marked = {}
for i = 3, #ARGV, 2 do
  local rest, id = ARGV[i], ARGV[i + 1]
  local bx = base .. 'bx:' .. rest
  if deliver(base .. 'pd:' .. rest, bx, ex, rest, id, now, retention) then
    marked[#marked + 1] = 'D'
  else
    local state = ended(bx, id)
    marked[#marked + 1] = state and string.sub(state, 1, 1) == 'D' and 'A' or 'C'
  end
end
return table.concat(marked)
