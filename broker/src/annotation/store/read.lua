-- Returns the annotations of these ids, false for one there is not.
-- ARGV ... [id ...]
local found = {}
for i, id in ipairs(list()) do
  local a = find(id)
  found[i] = a and notification('update', a, {}, 'null') or false
end
return found
