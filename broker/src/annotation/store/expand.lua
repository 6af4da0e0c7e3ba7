-- Returns, for each address, the normalised addresses that are one with it.
-- ARGV ... [address, the same normalised, ...]
local asked = list()
local found = {}
for i = 1, #asked, 2 do
  table.insert(found, expand(asked[i], asked[i + 1]))
end
return found
