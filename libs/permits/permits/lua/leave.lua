#!lua flags=allow-oom
-- Lets a pod go: all that it holds becomes free, all that it waits for is forgotten. Call again while there is more to do.
--
-- KEYS: see records.lua.
-- ARGV: 1 incarnation.
-- Returns: {DONE, more to do}, also for an incarnation that is not there.
-- When the last pod leaves and nothing is held, this may be a rollback: pods of layout 1 get back the capacity that was taken
-- from them (pods.lua, share_with_old_pods).

-- HERE STANDS epochs.lua
-- HERE STANDS pods.lua
-- HERE STANDS sweep.lua

if damaged or not is_sealed() then
  return { DONE, 0 } -- there is nothing to be trusted, nor to be sealed again; the next heartbeat settles it
end
remove_pod(ARGV[1])
measure_step()
sweep()
serve_line()
local is_last = held == 0 and learning_left() == 0 and redis.call('HLEN', PODS) == 0
if is_last and OLD_POOL and redis.call('TYPE', OLD_POOL).ok == 'hash' then
  local capacity_before = redis.call('HGET', OLD_POOL, 'capacity_before')
  if capacity_before then
    redis.call('HSET', OLD_POOL, 'capacity', capacity_before)
    redis.call('HDEL', OLD_POOL, 'capacity_before')
  end
end
finish(ARGV[1])
return { DONE, more and 1 or 0 }
