-- `FCALL carillon_publish_v1 1 <ring> <channel> <event>`: publishes an event and keeps
-- it in its ring, as our own scripts do. Returns its entry id.
--
-- Whoever calls it may speak for users, notes and channels of one tenant. What it
-- cannot see is that the event's members are what clients expect.

local MAX_BYTES, MAX_ID, MAX_TYPE = 65536, 1024, 128
local KINDS = { user = true, note = true, channel = true }

-- What each byte does to the checksum (CRC16, XMODEM). Made by the first call: while a
-- library is loaded there are no operations on bits.
local crc_of

local function table_of_crc()
  local made = {}
  for byte = 0, 255 do
    local crc = bit.lshift(byte, 8)
    for _ = 1, 8 do
      crc = bit.lshift(crc, 1)
      if 0x10000 <= crc then
        crc = bit.bxor(crc, 0x11021)
      end
    end
    made[byte] = crc
  end
  return made
end

local function tag_of(name)
  crc_of = crc_of or table_of_crc()
  local crc = 0
  for i = 1, #name do
    local place = bit.bxor(bit.rshift(crc, 8), string.byte(name, i))
    crc = bit.bxor(bit.band(bit.lshift(crc, 8), 0xffff), crc_of[place])
  end
  return TAGS[crc % #TAGS + 1]
end

-- Characters of several bytes in UTF-8. Without them no byte is left that is not ASCII.
local WIDE = {
  '[\194-\223][\128-\191]',
  '\224[\160-\191][\128-\191]',
  '[\225-\236\238\239][\128-\191][\128-\191]',
  '\237[\128-\159][\128-\191]',
  '\240[\144-\191][\128-\191][\128-\191]',
  '[\241-\243][\128-\191][\128-\191][\128-\191]',
  '\244[\128-\143][\128-\191][\128-\191]',
}

local function is_utf8(text)
  for _, character in ipairs(WIDE) do
    if not string.find(text, '[\128-\255]') then
      return true
    end
    text = string.gsub(text, character, ' ')
  end
  return not string.find(text, '[\128-\255]')
end

local function characters(text)
  local _, count = string.gsub(text, '[^\128-\191]', '')
  return count
end

-- Whether an id is spelt as topics spell it.
local function is_encoded(id)
  if id == '' or MAX_ID < #id or string.find(id, '[%z\1-\32{}\127]') or not is_utf8(id) then
    return false
  end
  for code in string.gmatch(id, '%%(.?.?)') do
    local byte = string.match(code, '^[0-9A-F][0-9A-F]$') and tonumber(code, 16)
    if not byte or 127 < byte or not string.find(string.char(byte), '[%z\1-\32{}%%\127]') then
      return false
    end
  end
  return true
end

local function is_whole(number)
  return number == nil or number == cjson.null
    or type(number) == 'number' and number == math.floor(number) and math.abs(number) < 2 ^ 53
end

-- Reads JSON and nothing like it, such as NaN, which no gateway would read.
local strict

local function decode(json)
  if not strict then
    strict = cjson.new()
    strict.decode_invalid_numbers(false)
  end
  return strict.decode(json)
end

-- What is wrong with an event; nothing if that cannot be seen.
local function fault(json)
  if MAX_BYTES < #json then
    return string.format('event: expected at most %d bytes', MAX_BYTES)
  end
  local read, event = pcall(decode, json)
  if not read or type(event) ~= 'table' or string.sub(json, 1, 1) ~= '{' or not is_utf8(json) then
    return 'event: expected a JSON object in UTF-8'
  elseif event.v ~= 1 or not string.find(json, '"v"%s*:%s*1%s*[,}]') then
    return 'v: expected 1'
  elseif type(event.type) ~= 'string' or event.type == '' or MAX_TYPE < characters(event.type) then
    return string.format('type: expected a string of 1 to %d characters', MAX_TYPE)
  elseif not is_whole(event.x) or not is_whole(event.ts) then
    return 'x, ts: expected whole numbers of milliseconds'
  end
end

local function refused(why)
  return redis.error_reply('ERR ' .. why)
end

local function publish(keys, args)
  if #keys ~= 1 or #args ~= 2 then
    return refused('expected one key, the ring, and two arguments, the channel and the event')
  end
  local ring, channel = keys[1], args[1]
  local json = string.match(args[2], '^[ \t\r\n]*(.*)$')
  local prefix, tag, tenant = string.match(ring, '^(.+):{(%x+)}:rb:([a-z0-9-]+)$')
  if not prefix or 32 < #tenant then
    return refused('ring: expected <prefix>:{<tag>}:rb:<tenant>')
  end
  local start = prefix .. ':c:' .. tenant .. ':'
  if string.sub(channel, 1, #start) ~= start then
    return refused('channel: expected one of the ring\'s prefix and tenant')
  end
  local topic = ring_topic(ring, channel)
  if not topic then
    return refused('channel: expected another one than that of annotations')
  end
  local kind, id = string.match(topic, '^(%l+):(.*)$')
  if not KINDS[kind] or not is_encoded(id) then
    return refused('channel: expected user:, note: or channel: and an id, percent-encoded')
  end
  if tag ~= tag_of(tenant .. ':' .. topic) then
    return refused('ring: expected the tag of the partition that the topic is in')
  end
  local why = fault(json)
  if why then
    return refused(why)
  end
  return publish_in_ring(ring, channel, json)
end

redis.register_function('carillon_publish_v1', publish)
