-- Ends entries of an intake: those that were published, and those that never can be.
-- KEYS intake dead-letters
-- ARGV group, most dead letters, number of published entries, their ids,
--      then of each that cannot be: id why words entry type|'' topic|'' data cut|''
-- Returns how many became dead letters; another worker may have been first.
local group, most, count = ARGV[1], ARGV[2], tonumber(ARGV[3])
local function finish(id)
  redis.call('XACK', KEYS[1], group, id)
  redis.call('XDEL', KEYS[1], id)
end
for i = 4, 3 + count do
  finish(ARGV[i])
end
local dead = 0
for i = 4 + count, #ARGV, 8 do
  local id, why, words, entry, kind, topic, data, cut = unpack(ARGV, i, i + 7)
  if #redis.call('XPENDING', KEYS[1], group, id, id, 1) == 1 then
    local fields = { 'why', why, 'error', words, 'entry', entry }
    for _, field in ipairs({ { 'type', kind }, { 'topic', topic }, { 'data', data }, { 'cut', cut } }) do
      if field[2] ~= '' or field[1] == 'data' then
        table.insert(fields, field[1])
        table.insert(fields, field[2])
      end
    end
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', most, '*', unpack(fields))
    dead = dead + 1
  end
  finish(id)
end
return dead
