-- What the scripts about people agree on.
--
-- The first arguments of each are where things are: what the keys of groups, of
-- members and of users' groups begin with, what users' topics begin with, and the
-- address that pages of groups begin with ('' for none). Userids and groups' ids
-- need no escaping in names. All keys share the partition of the tenant.

local WORLD = '{"id":"__world__","name":"Public","public":true}'

local place = {
  group = ARGV[1], members = ARGV[2], groups_of = ARGV[3],
  topic = ARGV[4], pages = ARGV[5], authority = ARGV[6],
}

-- The session of a user as clients know it: JSON.
local function session(userid, user)
  local found = {}
  local roles = redis.call('HKEYS', place.groups_of .. userid)
  for _, id in ipairs(roles) do
    local group = redis.call('HMGET', place.group .. id, 'name', 'kind', 'slug')
    if group[1] then
      local json = '{"id":"' .. id .. '","name":' .. cjson.encode(group[1])
      if group[2] == 'private' then
        json = json .. ',"public":false'
        if place.pages ~= '' then
          json = json .. ',"url":' .. cjson.encode(place.pages .. id .. '/' .. group[3])
        end
      else
        json = json .. ',"public":true'
      end
      table.insert(found, { string.lower(group[1]) .. '\0' .. id, json .. '}' })
    end
  end
  table.sort(found, function(a, b) return a[1] < b[1] end)
  local groups = {}
  if string.match(userid, '@(.*)$') == place.authority then
    table.insert(groups, WORLD)
  end
  for _, group in ipairs(found) do
    table.insert(groups, group[2])
  end
  return '{"userid":' .. cjson.encode(userid) .. ',"groups":[' .. table.concat(groups, ',')
    .. '],"features":{},"preferences":' .. (redis.call('HGET', user, 'preferences') or '{}') .. '}'
end

-- Tells the user's sockets. The body is a `MembershipChange`; an empty action is
-- one that clients are not told of, an empty role that of nobody.
local function tell(userid, action, group, role, model)
  local body = '"group":"' .. group .. '","role":' .. (role == '' and 'null' or '"' .. role .. '"')
  if action ~= '' then
    body = '"action":"' .. action .. '",' .. body
  end
  if model then
    body = body .. ',"session":' .. model
  end
  redis.call('PUBLISH', place.topic .. userid, '0-0 {"v":1,"type":"membership","body":{' .. body .. '}}')
end

local function enter(userid, user, group, role)
  redis.call('HSET', place.members .. group, userid, role)
  redis.call('HSET', place.groups_of .. userid, group, role)
  tell(userid, 'group-join', group, role, session(userid, user))
end
