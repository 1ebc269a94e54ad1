#!lua flags=no-writes
-- Tells how a pool is doing.
--
-- KEYS: see records.lua.
-- ARGV: none.
-- Returns: {held, capacity, high-water mark, waiting, learning for so long (ms), permits reaped so far,
--           client, held by it, client, held by it, …}

local left = learning_left()
local state = { held, capacity, high_water, waiting, left, tonumber(redis.call('HGET', POOL, 'reaped')) or 0 }
for _, word in ipairs(redis.call('HGETALL', CLIENTS)) do
  state[#state + 1] = word
end
return state
