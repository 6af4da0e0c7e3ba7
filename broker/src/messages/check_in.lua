-- What time it is as a recipient comes in, and up to when its tokens are revoked.
-- KEYS revoked
local revoked = redis.call('GET', KEYS[1])
return { string.format('%.0f', clock()), revoked }
