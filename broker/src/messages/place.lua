-- How many released messages that have ended are remembered at least, for sockets
-- that heard nothing of the release while their gateway was cut off.
local REMEMBERED = 256

-- Gives a message its place among those that are sent to its recipient.
local function place(rl, pd, at, id, oldest, retention)
  redis.call('ZADD', rl, 0, at .. id)
  redis.call('PEXPIRE', rl, retention)
  redis.call('ZREMRANGEBYLEX', rl, '-', '(' .. oldest)
  -- No more of them than of all that are pending are pending.
  local over = redis.call('ZCARD', rl) - redis.call('ZCARD', pd)
  if over <= 2 * REMEMBERED then
    return
  end
  for _, member in ipairs(redis.call('ZRANGE', rl, 0, -1)) do
    if REMEMBERED < over and not redis.call('ZSCORE', pd, string.sub(member, 19)) then
      redis.call('ZREM', rl, member)
      over = over - 1
    end
  end
end
