-- An active global message: `<until> <size of text> <expires or ->`, then
-- `@<due>` if it is to be released first, then `=<label>`.
local function active(ends, size, expires, due, label)
  local value = string.format('%.0f %s %s', ends, size, expires and string.format('%.0f', expires) or '-')
  return value .. (due and string.format('@%.0f', due) or '') .. label
end

-- Forgets the global messages that are not sent any more.
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
