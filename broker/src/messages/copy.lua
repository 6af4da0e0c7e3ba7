-- How long a copy can be acknowledged that is made when its global message has
-- reached its end: a socket was there in time and is being sent it.
local LAST = 60000

-- Gives a recipient its own copy of a global message, once; the copy has no
-- text. `gi` tells recipient -> copy, and under the empty name that the global
-- message is cancelled. `gx` lists the copies by age. Without an expiry, a copy
-- waits as long as its global message is sent.
-- Returns its id, and how many messages the cap cancelled.
local function copy(keys, rest, name, global, delivered, now, cap, retention)
  local known = redis.call('HMGET', keys.gi, name, '')
  if known[1] then
    if delivered then
      deliver(keys.pd, keys.bx, keys.ex, rest, known[1], now, retention)
    end
    return known[1], 0
  end

  local fields = { 'r', name, 'g', global.id, 'n', global.size }
  if global.label then
    fields[#fields + 1], fields[#fields + 2] = 'l', global.label
  end
  if global.expires then
    fields[#fields + 1], fields[#fields + 2] = 'x', string.format('%.0f', global.expires)
  end
  local late = global.expires and global.expires <= now
  local due, cancelled = global.expires, 0
  if not (delivered or known[2] or late) then
    cancelled = make_room(keys.pd, keys.bx, keys.ex, rest, cap, now, retention)
    if not due then
      due = now < global.ends and global.ends or now + LAST
      fields[#fields + 1], fields[#fields + 2] = 'u', string.format('%.0f', due)
    end
  end
  local id = id_of(append(keys.log, fields))
  redis.call('HSET', keys.gi, name, id)
  redis.call('PEXPIRE', keys.gi, 2 * retention)
  redis.call('ZADD', keys.gx, 0, id)
  redis.call('PEXPIRE', keys.gx, 2 * retention)
  if delivered then
    finish(keys.bx, id, 'D', now, retention)
  elseif known[2] then
    finish(keys.bx, id, 'C', now, retention)
  elseif late then
    finish(keys.bx, id, 'C', global.expires, retention)
  else
    wait(keys.pd, keys.ex, rest, id, due, retention)
  end
  return id, cancelled
end
