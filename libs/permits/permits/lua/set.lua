#!lua flags=allow-oom
-- Changes a pool by the will of its operator.
--
-- KEYS: see records.lua.
-- ARGV: 1 what: "capacity", "refuse", "allow" or "trust", 2 the capacity, or the pod.
-- Returns: {DONE, how it is now}, or {GONE} when nobody has used this pool yet.
-- "capacity" counts at once and everywhere: what became free is handed to the line; nothing is revoked.
-- "refuse" lets a pod's lease run out, and keeps it from coming back; "allow" ends that.
-- "trust" ends the learning: the operator vouches that nobody holds what the store does not know.

local what, value = ARGV[1], ARGV[2]

if not epoch then
  return { GONE }
end
if what == 'capacity' then
  capacity = tonumber(value)
  call('HSET', POOL, 'capacity', capacity)
  call('HINCRBY', POOL, 'capacity_version', 1)
elseif what == 'refuse' then
  call('SADD', REFUSED, value)
elseif what == 'allow' then
  call('SREM', REFUSED, value)
elseif what == 'trust' then
  learning_until = 0
  call('HSET', POOL, 'learning_until', 0)
end
serve_line()
finish('')
return { DONE, capacity }
