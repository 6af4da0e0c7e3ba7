-- What is told of an annotation: the JSON of a `Notification`.

-- The member that says who may do what, for a reader.
local function permissions(a, reach)
  local author = '[' .. json(a.user) .. ']'
  local read = author
  if a.shared == '1' then
    read = '[' .. json('group:' .. (reach == 'world' and '__world__' or a.group)) .. ']'
  end
  return '{"read":' .. read .. ',"admin":' .. author .. ',"update":' .. author
    .. ',"delete":' .. author .. '}'
end

local function links(a, web)
  local out = '{"json":' .. json(site.app .. '/api/annotations/' .. a.id)
  if string.match(a.user, '@(.*)$') == site.authority then
    out = out .. ',"html":' .. json(site.app .. '/a/' .. a.id)
  end
  if site.bouncer ~= '' then
    local link = site.bouncer .. '/' .. a.root
    local page = string.match(a.uri, '^urn:x%-pdf:') and web or a.uri
    local bare = page and string.match(page, '^https?://(.*)$')
    out = out .. ',"incontext":' .. json(bare and link .. '/' .. bare or link)
  end
  return out .. '}'
end

-- The annotation as a reader sees it from whom nothing is hidden.
local function reader_form(a, reach, name, exists)
  local doc = document(a.normalised)
  local about = doc and redis.call('HMGET', place.doc .. doc, 'title', 'web') or {}
  local parts = a.extra
  local function member(key, value)
    table.insert(parts, '"' .. key .. '":' .. value)
  end
  member('id', json(a.id))
  member('created', '"' .. date(a.created) .. '"')
  member('updated', '"' .. date(a.updated) .. '"')
  member('user', json(a.user))
  member('uri', json(a.uri))
  member('text', a.text)
  member('tags', a.tags)
  member('group', json(a.group))
  member('permissions', permissions(a, reach))
  member('target', '[{"source":' .. json(a.uri) .. a.target .. '}]')
  member('document', about[1] and '{"title":[' .. about[1] .. ']}' or '{}')
  member('links', links(a, about[2]))
  if a.references ~= '[]' then
    member('references', a.references)
  end
  if a.moderation ~= '' then
    member('moderation_status', json(a.moderation))
  else
    member('moderation_status', a.shared == '1' and '"APPROVED"' or 'null')
  end
  member('hidden', 'false')
  member('flagged', 'false')
  member('actions', '[]')
  member('mentions', '[]')
  if exists then
    member('user_info', '{"display_name":' .. (name and json(name) or 'null') .. '}')
  end
  return '{' .. table.concat(parts, ',') .. '}'
end

-- The body of an event, or what who asks for the annotation gets; only events
-- carry scope keys and the id of the client that caused them (JSON).
local function notification(action, a, scope_keys, client)
  local reach = readable(a.group)
  local name, banned, deleted = unpack(redis.call('HMGET', place.user .. a.user, 'display_name', 'banned', 'deleted'))
  local form = '{"id":' .. json(a.id) .. '}'
  local flaggers = {}
  if action ~= 'delete' then
    form = reader_form(a, reach, name, not deleted)
    flaggers = redis.call('SMEMBERS', place.an .. a.id .. ':flags')
  end
  return '{"action":"' .. action .. '","id":' .. json(a.id) .. ',"annotation":' .. form
    .. ',"author":' .. json(a.user) .. ',"authorBanned":' .. tostring(banned == '1')
    .. ',"group":{"id":' .. json(a.group) .. ',"readableBy":"' .. reach .. '"}'
    .. ',"shared":' .. tostring(a.shared == '1')
    .. ',"moderation":' .. (a.moderation ~= '' and json(a.moderation) or 'null')
    .. ',"references":' .. a.references .. ',"scopeKeys":' .. json_list(scope_keys)
    .. ',"sourceClientId":' .. client .. ',"flaggers":' .. json_list(flaggers) .. '}'
end

-- Tells everybody, and answers with what they are told.
local function publish(action, a, client)
  local scope_keys = expand(a.uri, a.normalised)
  if a.version ~= '' then
    for i, key in ipairs(scope_keys) do
      scope_keys[i] = key .. '__v' .. a.version
    end
  end
  local body = notification(action, a, scope_keys, client)
  publish_in_ring(place.ring, site.channel, '{"v":1,"type":"annotation","body":' .. body .. '}')
  return { 'done', body }
end
