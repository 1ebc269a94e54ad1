-- acquire.lua for an id that holds no permit, release.lua for one that does: redis-benchmark can send one kind of call
-- only, so it sends this one with random ids, and two calls on average are a pair.
--
-- KEYS: 1 permits, 2 clients; see acquire.lua.
-- ARGV: 1 id, 2 client, 3 capacity.
-- Returns: 1 when something changed.
local client = redis.call('HGET', KEYS[1], ARGV[1])
if client then
  redis.call('HDEL', KEYS[1], ARGV[1])
  if redis.call('HINCRBY', KEYS[2], client, -1) <= 0 then
    redis.call('HDEL', KEYS[2], client)
  end
  return 1
end
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('HINCRBY', KEYS[2], ARGV[2], 1)
return 1
