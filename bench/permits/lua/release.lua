-- The least that a distributed semaphore must do to take a permit back.
--
-- KEYS: 1 permits, 2 clients; see acquire.lua.
-- ARGV: 1 id.
-- Returns: 1 when it was held.
local client = redis.call('HGET', KEYS[1], ARGV[1])
if not client then
  return 0
end
redis.call('HDEL', KEYS[1], ARGV[1])
if redis.call('HINCRBY', KEYS[2], client, -1) <= 0 then
  redis.call('HDEL', KEYS[2], client)
end
return 1
