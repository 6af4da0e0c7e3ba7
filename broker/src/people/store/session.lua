-- A user's session as clients know it.
-- KEYS user
-- ARGV ... userid
-- Returns JSON.
return session(ARGV[7], KEYS[1])
