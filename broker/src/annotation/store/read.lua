-- Returns the annotations of these ids, false for one there is not, and '' for
-- one that is damaged: it must not keep the others from anybody.
-- ARGV ... [id ...]
local found = {}
for i, id in ipairs(list()) do
  local whole, body = pcall(function()
    local a = find(id)
    return a and notification('update', a, {}, 'null') or false
  end)
  found[i] = whole and body
  if not whole then
    found[i] = ''
  end
end
return found
