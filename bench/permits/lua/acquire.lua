-- The least that a distributed semaphore must do to hand out a permit.
--
-- KEYS: 1 permits (hash: id → client), 2 clients (hash: client → permits held).
-- ARGV: 1 id, 2 client, 3 capacity.
-- Returns: 1 when granted, 0 when none is free.
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('HINCRBY', KEYS[2], ARGV[2], 1)
return 1
