-- What the scripts about annotations agree on.
--
-- The keys of each are where things are; all share the partition of the tenant:
--   an    the keys of annotations begin with it. Hash: what was written, most of
--         it as JSON that nothing here looks into; `x:<name>` holds a further
--         member. `<key>:flags` is the set of the users who flagged it.
--   doc   the keys of documents begin with it. Hash: title (JSON), web (an http
--         address). `<key>:uris` is a sorted set of its addresses, `<key>:canonical`
--         the set of those that name it, as they were written.
--   uris  Hash: which document a normalised address belongs to; under '' the
--         number of the newest.
--   ix    the keys of indexes begin with it: sorted sets of ids by creation.
--   group, user  the keys of groups and users begin with them.
--   ring  where events are kept for a while.
-- Times are microseconds by Redis' clock.

local place = {
  an = KEYS[1], doc = KEYS[2], uris = KEYS[3], ix = KEYS[4], group = KEYS[5], user = KEYS[6],
  ring = KEYS[7],
}
local site = { channel = ARGV[1], app = ARGV[2], bouncer = ARGV[3], authority = ARGV[4] }

local taken = 4

-- The next arguments.
local function take(count)
  local first = taken + 1
  taken = taken + count
  return unpack(ARGV, first, taken)
end

-- The next arguments, which are preceded by how many there are.
local function list()
  local items = {}
  for i = 1, tonumber(take(1)) do
    items[i] = take(1)
  end
  return items
end

-- The same as a set.
local function set()
  local items = {}
  for _, item in ipairs(list()) do
    items[item] = true
  end
  return items
end

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function json(text)
  return (string.gsub(cjson.encode(text), '\\/', '/'))
end

local function json_list(texts)
  local out = {}
  for i, text in ipairs(texts) do
    out[i] = json(text)
  end
  return '[' .. table.concat(out, ',') .. ']'
end

-- A time as clients are told it: always six digits, always UTC.
local function date(micros)
  local floor = math.floor
  local seconds = floor(micros / 1000000)
  local second = seconds % 86400
  -- Days since 1 March of the year 0, in eras of 400 years: the leap day is
  -- the last of its year, so that months can be counted by a line.
  local days = floor(seconds / 86400) + 719468
  local era = floor(days / 146097)
  local day = days % 146097
  local year = floor((day - floor(day / 1460) + floor(day / 36524) - floor(day / 146096)) / 365)
  day = day - (365 * year + floor(year / 4) - floor(year / 100))
  local month = floor((5 * day + 2) / 153)
  day = day - floor((153 * month + 2) / 5) + 1
  month = month < 10 and month + 3 or month - 9
  year = era * 400 + year + (month <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06d+00:00', year, month, day,
    floor(second / 3600), floor(second / 60) % 60, second % 60, micros % 1000000)
end

-- An annotation as it is kept; nothing if there is none.
local function find(id)
  local flat = redis.call('HGETALL', place.an .. id)
  if #flat == 0 then
    return nil
  end
  local a = { id = id, extra = {} }
  for i = 1, #flat, 2 do
    local name = string.match(flat[i], '^x:(.*)$')
    if name then
      table.insert(a.extra, json(name) .. ':' .. flat[i + 1])
    else
      a[flat[i]] = flat[i + 1]
    end
  end
  return a
end

-- Who reads what is shared with a group.
local function readable(group)
  if group == '__world__' then
    return 'world'
  end
  local kind = redis.call('HGET', place.group .. group, 'kind')
  if not kind then
    return 'nobody'
  end
  return kind == 'private' and 'members' or 'world'
end
