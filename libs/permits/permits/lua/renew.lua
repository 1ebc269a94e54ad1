#!lua flags=allow-oom
-- The heartbeat of a pod: moves pool time on, renews the lease, reaps the pods whose lease is over, sweeps up after them,
-- looks at whether all is well, serves the line.
--
-- KEYS: see records.lua.
-- ARGV: 1 incarnation, 2 connection generation, 3 lease (ms), 4 the epoch that it knows, 5 the highest ticket of it.
-- Returns: {GONE}, {STALE}, {FORGOTTEN} or {NAMELESS}: not renewed; or
--          {DONE, {id, ticket, …} handed to this pod's own waiters (pool.lua: OVER_LIMIT, WAS_REPLACED), lease (ms),
--           waiters of this pod, permits it holds, more to do, capacity, longest lease (ms),
--           learning for so long yet (ms)}
-- A lease that has ended is not renewed, whether or not it was reaped yet: its pod has told its holders so.
-- A pod that believes in more waiters than there are has missed a notice; one whose sum of permits and waiters differs
-- has drifted from the store.

-- HERE STANDS epochs.lua
-- HERE STANDS pods.lua
-- HERE STANDS sweep.lua

local own, generation, lease_ms, pods_epoch = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local witness = tonumber(ARGV[5])

if not trust_store(lease_ms, pods_epoch, witness) then
  return { NAMELESS }
end
advance_clock()
share_with_old_pods()
reap()
local refused = refusal(own, generation, lease_ms, pods_epoch, witness)
if not refused and redis.call('SISMEMBER', REFUSED, string.match(own, '^(.*)%.%d+$')) == 1 then
  refused = GONE
end
if not refused then
  redis.call('ZADD', LEASES, 'GT', format_int(clock + lease_ms), own)
  audit(lease_ms)
end
sweep()
forget_places()
serve_line()
local own_handed = finish(own)
if refused then
  return { refused }
end
local _, longest = lease_lengths()
return {
  DONE,
  own_handed,
  lease_ms,
  tonumber(redis.call('HGET', PODS_WAITING, own)) or 0,
  tonumber(redis.call('HGET', PODS_HELD, own)) or 0,
  more and 1 or 0,
  capacity,
  longest or lease_ms,
  learning_left(),
}
