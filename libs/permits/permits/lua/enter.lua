#!lua flags=allow-oom
-- Lets a pod in as a new incarnation with a lease of its own.
--
-- KEYS: see records.lua.
-- ARGV: 1 incarnation, 2 connection generation, 3 lease (ms), 4 the newest epoch that its process has heard of ("" for
--       none), 5 the highest ticket of it, 6 the longest lease that it has heard of (ms), 7 the incarnation it was before
--       ("" for none), 8 capacity by its settings, 9 "1" when those settings are news: the first time that a process enters.
-- Returns: {DONE, lease (ms), epoch, capacity, longest lease (ms), learning for so long yet (ms),
--          more to do}; {NEWER}: a newer version of this software has
--          been here, stay out; {SHUT_OUT}: an operator refuses this pod; {NAMELESS}: the server does not say who it is.
-- What the earlier incarnation held or waited for is taken back: its pod has declared it lost.
-- The capacity is seeded from the settings of the first pod. Later, news that differ from the last seed are a decision
-- of the operator and replace the capacity; news that repeat it leave alone what was set by hand since.

-- HERE STANDS epochs.lua
-- HERE STANDS pods.lua
-- HERE STANDS sweep.lua

local own, generation, lease_ms, before = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[7]
local longest_known, seed, news = tonumber(ARGV[6]), tonumber(ARGV[8]), ARGV[9] == '1'

if not damaged and (tonumber(redis.call('HGET', POOL, 'layout')) or 0) > LAYOUT then
  return { NEWER }
end
if not trust_store(math.max(lease_ms, longest_known), ARGV[4], tonumber(ARGV[5])) then
  return { NAMELESS }
end
if redis.call('SISMEMBER', REFUSED, string.match(own, '^(.*)%.%d+$')) == 1 then
  finish(own)
  return { SHUT_OUT }
end
advance_clock()
seed_capacity(seed, news)
put_pod(own, generation, lease_ms, seed, 0)
learn_at_least(math.max(lease_ms, longest_known))
share_with_old_pods()
if before ~= '' then
  remove_pod(before)
end
reap()
sweep()
serve_line()
finish(own)
local _, longest = lease_lengths()
return { DONE, lease_ms, epoch, capacity, longest, learning_left(), more and 1 or 0 }
