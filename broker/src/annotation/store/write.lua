-- What creating and changing an annotation have in common.

-- Why somebody may not write about this address in a group; nothing if they may,
-- and then whether moderators look first. `native`: the user is one of the site's
-- own authority. `mine`: the groups that the user is in.
local function refusal(group, uri, native, mine)
  if group == '__world__' then
    return native ~= '1' and { 'may not write' } or nil, false
  end
  local kind, premoderated, scopes, enforced = unpack(redis.call('HMGET', place.group .. group,
    'kind', 'premoderated', 'scopes', 'enforce'))
  if not kind then
    return { 'unknown group', group }
  end
  local may = mine[group]
  if kind == 'open' then
    may = may or native == '1'
  end
  if not may then
    return { 'may not write' }
  end
  scopes = enforced == '1' and cjson.decode(scopes or '[]') or {}
  local within = #scopes == 0
  for _, scope in ipairs(scopes) do
    within = within or string.sub(uri, 1, #scope) == scope
  end
  if not within then
    return { 'out of scope' }
  end
  return nil, premoderated == '1'
end

-- The indexes that an annotation stands in, apart from that of its address.
local function indexes(a, references)
  local names = { 'all', 'g:' .. a.group, 'u:' .. a.user }
  for _, reference in ipairs(references) do
    table.insert(names, 'r:' .. reference)
  end
  return names
end
