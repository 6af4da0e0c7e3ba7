-- Forgets the global messages that are not sent any more. The value of an
-- active one is `<until> <size of text> <expires or ->`, then `=<label>`.
local function drop_inactive(ga, now)
  local all = redis.call('HGETALL', ga)
  local dropped = 0
  for i = 1, #all, 2 do
    if tonumber(string.match(all[i + 1], '^%d+')) <= now then
      dropped = dropped + redis.call('HDEL', ga, all[i])
    end
  end
  return dropped
end
