#!lua flags=allow-oom
-- Lets a pod in as a new incarnation with a lease of its own.
--
-- KEYS: see records.lua.
-- ARGV: 1 incarnation, 2 connection generation, 3 lease (ms), 4 the incarnation it was before ("" for none),
--       5 capacity by its settings, 6 "1" when those settings are news: the first time that a process enters.
-- Returns: {DONE, lease (ms), epoch}; {NEWER}: a newer version of this software has been here, stay out;
--          or {SHUT_OUT}: an operator refuses this pod.
-- What the earlier incarnation held or waited for is taken back: its pod has declared it lost.
-- The capacity is seeded from the settings of the first pod. Later, news that differ from the last seed are a decision
-- of the operator and replace the capacity; news that repeat it leave alone what was set by hand since.

local own, generation, lease_ms, before = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local seed, news = tonumber(ARGV[5]), ARGV[6] == '1'

if (tonumber(call('HGET', POOL, 'layout')) or 0) > LAYOUT then
  return { NEWER }
elseif call('SISMEMBER', REFUSED, string.match(own, '^(.*)%.%d+$')) == 1 then
  return { SHUT_OUT }
end
trust_store(lease_ms)
move_on()
call('HSET', POOL, 'layout', LAYOUT)
seed_capacity(seed, news)
call('HSET', PODS, own, generation .. ' ' .. whole(lease_ms))
call('ZADD', LEASES, whole(clock + lease_ms), own)
measure_step()
learn_at_least(lease_ms)
if before ~= '' then
  remove_pods({ [before] = true })
end
reap()
serve_line()
finish(own)
return { DONE, lease_ms, epoch }
