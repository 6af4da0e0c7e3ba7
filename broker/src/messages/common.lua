-- What every script of the message store agrees on.
--
-- An id is 18 hex digits: 12 of milliseconds, 6 of sequence. It names an entry
-- of the log and sorts by age. `pd` holds the ids of pending messages, `bx` an
-- id followed by `D` or `C` and the time for each message that has ended. Both
-- score every member 0, so they are ranged by id. `ex` holds `<id> <rest>` by expiry.
-- `rest` is `<tenant>:<recipient>`, the recipient percent-encoded.
--
-- A scheduled message (its entry has `a`) is pending from the start and in `sc`,
-- `<id> <rest>` by when it is due, until it is released. It is sent in the place
-- of its release: an entry of its own in the log, `rl` holds `<place><id>`.

local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function id_of(entry)
  local ms, seq = string.match(entry, '^(%d+)-(%d+)$')
  return string.format('%012x%06x', tonumber(ms), tonumber(seq))
end

local function entry_of(id)
  local ms, seq = string.sub(id, 1, 12), string.sub(id, 13)
  return string.format('%d-%d', tonumber(ms, 16), tonumber(seq, 16))
end

-- Sequences of messages stay below this, those of global messages begin here,
-- so that no id names both.
local GLOBALS = 0x800000

-- Adds an entry to the log of messages. While the clock is behind the last
-- entry the sequence grows; before it is used up, the next millisecond is.
local function append(log, fields)
  local entry = redis.call('XADD', log, '*', unpack(fields))
  local ms, seq = string.match(entry, '^(%d+)-(%d+)$')
  if GLOBALS - 2 <= tonumber(seq) then
    redis.call('XSETID', log, string.format('%d-0', ms + 1))
  end
  return entry
end

-- The smallest id that may have been made at this time.
local function floor_of(ms)
  return string.format('%012x', math.max(ms, 0))
end

-- What an entry says. `x` is its expiry, `due` when it stops waiting: then, or
-- when its global message ends (`u`) that has no expiry.
local function fields_of(entry)
  local fields = {}
  for i = 1, #entry[2], 2 do
    fields[entry[2][i]] = entry[2][i + 1]
  end
  fields.x, fields.a = tonumber(fields.x), tonumber(fields.a)
  fields.due = fields.x or tonumber(fields.u)
  return fields
end

local function read(log, id)
  local entry = entry_of(id)
  local found = redis.call('XRANGE', log, entry, entry)[1]
  return found and fields_of(found)
end

local function finish(bx, id, state, at, retention)
  redis.call('ZADD', bx, 0, string.format('%s%s%.0f', id, state, at))
  redis.call('PEXPIRE', bx, retention)
end

-- What is due to be released stands beside what is due to expire.
local function schedule_of(ex)
  return string.sub(ex, 1, -3) .. 'sc'
end

-- Ends a pending message without delivery; one that had expired ended then.
local function cancel(pd, bx, ex, rest, id, at, retention)
  if redis.call('ZREM', pd, id) == 0 then
    return false
  end
  redis.call('ZREM', schedule_of(ex), id .. ' ' .. rest)
  local due = redis.call('ZSCORE', ex, id .. ' ' .. rest)
  if due then
    redis.call('ZREM', ex, id .. ' ' .. rest)
    at = math.min(at, tonumber(due))
  end
  finish(bx, id, 'C', at, retention)
  return true
end

local function deliver(pd, bx, ex, rest, id, at, retention)
  if redis.call('ZREM', pd, id) == 0 then
    return false
  end
  redis.call('ZREM', ex, id .. ' ' .. rest)
  finish(bx, id, 'D', at, retention)
  return true
end

-- Cancels the oldest pending messages until one more fits under the cap.
local function make_room(pd, bx, ex, rest, cap, now, retention)
  local cancelled = 0
  for _ = cap, redis.call('ZCARD', pd) do
    local oldest = redis.call('ZRANGE', pd, 0, 0)[1]
    if oldest and cancel(pd, bx, ex, rest, oldest, now, retention) then
      cancelled = cancelled + 1
    end
  end
  return cancelled
end

local function wait(pd, ex, rest, id, expires, retention)
  redis.call('ZADD', pd, 0, id)
  redis.call('PEXPIRE', pd, retention)
  if expires then
    redis.call('ZADD', ex, expires, id .. ' ' .. rest)
  end
end

-- `D<ms>` or `C<ms>`, if the message has ended.
local function ended(bx, id)
  local found = redis.call('ZRANGE', bx, '[' .. id, '[' .. id .. '~', 'BYLEX', 'LIMIT', 0, 1)
  return found[1] and string.sub(found[1], 19)
end

local function state_of(pd, bx, id, expires, now)
  if not redis.call('ZSCORE', pd, id) then
    return ended(bx, id)
  elseif expires and expires <= now then
    return string.format('C%.0f', expires)
  else
    return 'P'
  end
end

local function row(id, state, fields, place)
  local expires = fields.x and string.format('%.0f', fields.x)
  local scheduled = fields.a and string.format('%.0f', fields.a)
  return { id, state, fields.r or false, fields.b or false, fields.l or false,
    expires or false, fields.g or false, scheduled or false, place or false }
end
