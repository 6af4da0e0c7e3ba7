-- Bounds what nobody took, and forgets workers and dead letters of long ago.
-- KEYS intake dead-letters
-- ARGV group, most entries, oldest dead letter (ms), how long a worker without entries is kept (ms)
-- Returns how many entries were dropped.
-- Who adds an entry can choose its id, be it the last there is, after which nothing can
-- be added. Such a stream is begun anew once it is empty.
local LAST = '18446744073709551615-18446744073709551615'
local group, most, oldest, idle = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local dropped = redis.call('XTRIM', KEYS[1], 'MAXLEN', most)
redis.call('XTRIM', KEYS[2], 'MINID', oldest)
if redis.call('XLEN', KEYS[1]) == 0 then
  local stream = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #stream, 2 do
    if stream[i] == 'last-generated-id' and stream[i + 1] == LAST then
      redis.call('PEXPIRE', KEYS[1], 0)
      redis.call('XGROUP', 'CREATE', KEYS[1], group, 0, 'MKSTREAM')
    end
  end
end
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], group)) do
  local worker = {}
  for i = 1, #flat, 2 do
    worker[flat[i]] = flat[i + 1]
  end
  if worker.pending == 0 and idle < worker.idle then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], group, worker.name)
  end
end
return dropped
