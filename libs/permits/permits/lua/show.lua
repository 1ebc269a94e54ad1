#!lua flags=no-writes
-- Shows a pool to its operator.
--
-- KEYS: see records.lua.
-- ARGV: 1 how many of the line to show.
-- Returns: {{as state.lua, without clients}, {client, held by it, …},
--           {incarnation, lease left (ms), permits held, waiters, capacity by its settings, …},
--           {id, ticket, incarnation, waiting for (ms), waits on (ms), client, …} of the head of the line,
--           {refused pod, …}, {epoch, capacity version, jumps of the clock, capacity by
--           the settings that were last taken up}}

-- HERE STANDS pods.lua

local now = pool_now()
local pods = {}
local leases = redis.call('ZRANGE', LEASES, 0, -1, 'WITHSCORES')
for at = 1, #leases, 2 do
  local pod = leases[at]
  pods[#pods + 1] = pod
  pods[#pods + 1] = tonumber(leases[at + 1]) - now
  pods[#pods + 1] = tonumber(redis.call('HGET', PODS_HELD, pod)) or 0
  pods[#pods + 1] = tonumber(redis.call('HGET', PODS_WAITING, pod)) or 0
  local _, _, setting = parse_pod(redis.call('HGET', PODS, pod))
  pods[#pods + 1] = setting or 0
end
local line = {}
for _, id in ipairs(redis.call('ZRANGE', LINE, 0, tonumber(ARGV[1]) - 1)) do
  local ticket, pod, client, since, until_ms = parse_waiter(redis.call('HGET', WAITERS, id) or '')
  if ticket then
    for _, word in ipairs({ id, tonumber(ticket), pod, now - since, until_ms - now, client }) do
      line[#line + 1] = word
    end
  end
end
local fields = redis.call('HMGET', POOL, 'reaped', 'capacity_version', 'jumps', 'capacity_seed')
local left = learning_left()
return {
  { held, capacity, high_water, waiting, left, tonumber(fields[1]) or 0 },
  redis.call('HGETALL', CLIENTS),
  pods,
  line,
  redis.call('SMEMBERS', REFUSED),
  { epoch_number(epoch), tonumber(fields[2]) or 0, tonumber(fields[3]) or 0, tonumber(fields[4]) or 0 },
}
