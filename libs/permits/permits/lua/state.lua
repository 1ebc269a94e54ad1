#!lua flags=no-writes
-- Tells how a pool is doing.
--
-- KEYS: see records.lua.
-- ARGV: 1 the cursor of the clients, "0" to begin with, or "" to name none; 2 how many clients to name at once, about.
-- Returns: {held, capacity, high-water mark, waiting, learning for so long (ms), permits reaped so far,
--           the next cursor, {client, held by it, client, held by it, …}}. Call again until the cursor is 0. One call names
--           all clients when there are at most half as many as ARGV 2. Otherwise, who holds something from the first call
--           to the last is named, once or more often.

local found = ARGV[1] == '' and { '0', {} } or redis.call('HSCAN', CLIENTS, ARGV[1], 'COUNT', ARGV[2])
local left = learning_left()
return { held, capacity, high_water, waiting, left, tonumber(redis.call('HGET', POOL, 'reaped')) or 0, found[1], found[2] }
