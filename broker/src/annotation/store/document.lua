-- Documents: addresses that people have said to lead to one and the same.

-- Every address of a document is in every event of its annotations: so many of
-- so many bytes are borne. One that is longer is a document of its own.
local MOST, LONGEST = 200, 2048

local function document(normalised)
  -- Under '' is a number, but of no address.
  return normalised ~= '' and redis.call('HGET', place.uris, normalised)
end

local function addresses(doc)
  return redis.call('ZCARD', place.doc .. doc .. ':uris')
end

local function add(doc, normalised)
  local uris = place.doc .. doc .. ':uris'
  redis.call('ZADD', uris, 'NX', redis.call('ZCARD', uris), normalised)
  redis.call('HSET', place.uris, normalised, doc)
end

-- Makes the newer of two documents part of the older.
local function merge(one, other)
  local old, new = one, other
  if tonumber(new) < tonumber(old) then
    old, new = new, old
  end
  local into, from = place.doc .. old, place.doc .. new
  for _, normalised in ipairs(redis.call('ZRANGE', from .. ':uris', 0, -1)) do
    add(old, normalised)
  end
  redis.call('SUNIONSTORE', into .. ':canonical', into .. ':canonical', from .. ':canonical')
  for _, field in ipairs({ 'title', 'web' }) do
    local value = redis.call('HGET', from, field)
    if value then
      redis.call('HSETNX', into, field, value)
    end
  end
  redis.call('DEL', from, from .. ':uris', from .. ':canonical')
  return old
end

-- Enters what an annotation says of its document: normalised address, the same
-- as it was written, and the kind of claim, by threes; its own address first.
-- What would make a document too large is left out, so that nobody can make
-- every page be one.
local function claim(claims, title)
  local doc = document(claims[1])
  local last = LONGEST < #claims[1] and 1 or #claims
  for i = 4, last, 3 do
    doc = doc or document(claims[i])
  end
  if not doc or not document(claims[1]) and MOST <= addresses(doc) then
    doc = string.format('%.0f', redis.call('HINCRBY', place.uris, '', 1))
  end
  for i = 1, last, 3 do
    local normalised, written, kind = claims[i], claims[i + 1], claims[i + 2]
    local owner = document(normalised)
    if not owner and addresses(doc) < MOST and (i == 1 or #normalised <= LONGEST) then
      add(doc, normalised)
      owner = doc
    elseif owner and owner ~= doc and #normalised <= LONGEST
      and addresses(owner) + addresses(doc) <= MOST then
      doc = merge(doc, owner)
      owner = doc
    end
    if owner == doc then
      if kind == 'rel-canonical' and redis.call('SCARD', place.doc .. doc .. ':canonical') < MOST then
        redis.call('SADD', place.doc .. doc .. ':canonical', written)
      end
      if string.match(written, '^https?://') then
        redis.call('HSETNX', place.doc .. doc, 'web', written)
      end
    end
  end
  if title ~= '' then
    redis.call('HSETNX', place.doc .. doc, 'title', title)
  end
end

-- The normalised addresses that are one with this one.
local function expand(uri, normalised)
  local doc = document(normalised)
  if not doc or redis.call('SISMEMBER', place.doc .. doc .. ':canonical', uri) == 1 then
    return { normalised }
  end
  return redis.call('ZRANGE', place.doc .. doc .. ':uris', 0, -1)
end
