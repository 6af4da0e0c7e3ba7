-- Puts dead letters back into the stream that they were added to.
-- KEYS dead-letters intake
-- ARGV ids of letters
-- Returns of each 1 if it was, 0 if there is none, 2 if it was cut.
local done = {}
for i, id in ipairs(ARGV) do
  local letter = redis.call('XRANGE', KEYS[1], id, id)[1]
  done[i] = 0
  if letter then
    local kept, cut = {}, false
    for at = 1, #letter[2], 2 do
      local name, value = letter[2][at], letter[2][at + 1]
      cut = cut or name == 'cut'
      if name == 'type' or name == 'topic' or name == 'data' or name == 'entry' then
        table.insert(kept, name)
        table.insert(kept, value)
      end
    end
    done[i] = cut and 2 or 1
    if not cut then
      redis.call('XADD', KEYS[2], '*', unpack(kept))
      redis.call('XDEL', KEYS[1], id)
    end
  end
end
return done
