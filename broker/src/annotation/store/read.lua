-- Returns the annotations of these ids, false for one there is not, and '' for
-- one that is damaged: it must not keep the others from anybody.
-- Ends early, but not before the first, once what it returns has `most` bytes.
-- ARGV ... most [id ...]
local most = tonumber(take(1))
local found, bytes = {}, 0
for i, id in ipairs(list()) do
  local whole, body = pcall(function()
    local a = find(id)
    return a and notification('update', a, {}, 'null') or false
  end)
  found[i] = whole and body
  if not whole then
    found[i] = ''
  end
  bytes = bytes + (found[i] and #found[i] or 0)
  if most <= bytes then
    break
  end
end
return found
