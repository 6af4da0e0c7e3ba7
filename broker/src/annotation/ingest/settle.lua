-- Ends entries of an intake: those that were published, and those that never can be.
-- KEYS intake dead-letters
-- ARGV group, most dead letters, number of published entries, their ids,
--      then of each that cannot be: id why words type data
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
for i = 4 + count, #ARGV, 5 do
  local id, why, words, kind, data = unpack(ARGV, i, i + 4)
  if #redis.call('XPENDING', KEYS[1], group, id, id, 1) == 1 then
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', most, '*', 'why', why, 'error', words,
      'entry', id, 'type', kind, 'data', data)
    dead = dead + 1
  end
  finish(id)
end
return dead
