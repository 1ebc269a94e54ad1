#!lua flags=allow-oom
-- Changes a pool by the will of its operator.
--
-- KEYS: see records.lua.
-- ARGV: 1 what: "capacity", "refuse", "allow", "trust", "new" or "serve", 2 the capacity, or the pod.
-- Returns: {DONE, how it is now, more to do: call again with "serve"}; {GONE} when nobody has used this pool yet, or, for
--          "new", when somebody has or listens; an error when the pool's numbers were changed by hand, which must not be sealed.
-- "capacity" counts at once and everywhere: what became free is handed to the line; nothing is revoked.
-- "refuse" lets a pod's lease run out, and keeps it from coming back; "allow" ends that.
-- "trust" ends the learning: the operator vouches that nobody holds what the store does not know.
-- "new" makes a pool that needs to learn nothing: the operator vouches that nobody has ever used it. Pods that listen for
-- its notices prove the contrary, also while the store is empty: they have outlived what it knew. A user that may not ask for
-- them gets the error of the server.

-- HERE STANDS epochs.lua

local what, value = ARGV[1], ARGV[2]

if what == 'new' then
  local run, listening = server_run(), redis.pcall('PUBSUB', 'CHANNELS', channel_of('*'))
  if listening.err then
    return listening -- this user may not ask, so nobody can tell whether pods listen
  elseif epoch or damaged or not run or #listening > 0 then
    return { GONE }
  end
  begin_epoch(run, 1000, '', 0, false)
  set_fields('learning_until', 0)
elseif not epoch then
  return { GONE }
elseif (what == 'capacity' or what == 'trust') and not is_sealed() then
  return redis.error_reply('the numbers of this pool were changed by hand; the next heartbeat of a pod mends them')
elseif what == 'capacity' then
  capacity = tonumber(value)
  redis.call('HINCRBY', POOL, 'capacity_version', 1)
  set_fields('capacity', capacity)
elseif what == 'refuse' then
  redis.call('SADD', REFUSED, value)
elseif what == 'allow' then
  redis.call('SREM', REFUSED, value)
elseif what == 'trust' then
  learning_until = 0
  set_fields('learning_until', 0)
end
serve_line()
finish('')
return { DONE, capacity, more and 1 or 0 }
