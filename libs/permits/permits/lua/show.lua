#!lua flags=no-writes
-- Shows a pool to its operator.
--
-- KEYS: see records.lua.
-- ARGV: 1 how many of the line to show, 2 how many clients to name at once, about, 3 the cursor of the pods, "0" to begin
--       with, 4 how many pods to name at once, about. With a later cursor, there are only pods.
-- Returns: {{as state.lua, without clients}, the cursor with which state.lua names more clients, {client, held by it, …},
--           the next cursor of the pods,
--           {incarnation, lease left (ms), permits held, waiters, capacity by its settings, …},
--           {id, ticket, incarnation, waiting for (ms), waits on (ms), client, …} of the head of the line,
--           {refused pod, …}, {epoch, capacity version, jumps of the clock}}

-- HERE STANDS epochs.lua

local now = pool_now()
local names, records, pods = {}, {}, {}
local found = redis.call('HSCAN', PODS, ARGV[3], 'COUNT', ARGV[4])
for at = 1, #found[2], 2 do
  names[#names + 1] = found[2][at]
  records[#records + 1] = found[2][at + 1]
end
if #names > 0 then
  local ends = redis.call('ZMSCORE', LEASES, unpack(names))
  local held_by, waiting_by = redis.call('HMGET', PODS_HELD, unpack(names)), redis.call('HMGET', PODS_WAITING, unpack(names))
  for index, pod in ipairs(names) do
    local _, _, setting = parse_pod(records[index])
    pods[#pods + 1] = pod
    pods[#pods + 1] = (tonumber(ends[index]) or now) - now
    pods[#pods + 1] = tonumber(held_by[index]) or 0
    pods[#pods + 1] = tonumber(waiting_by[index]) or 0
    pods[#pods + 1] = setting or 0
  end
end
local line, clients, refused = {}, { '0', {} }, {}
if ARGV[3] == '0' then
  for _, id in ipairs(redis.call('ZRANGE', LINE, 0, tonumber(ARGV[1]) - 1)) do
    local ticket, pod, client, since, until_ms = parse_waiter(redis.call('HGET', WAITERS, id) or '')
    if ticket then
      for _, word in ipairs({ id, tonumber(ticket), pod, now - since, until_ms - now, client }) do
        line[#line + 1] = word
      end
    end
  end
  clients, refused = redis.call('HSCAN', CLIENTS, '0', 'COUNT', ARGV[2]), redis.call('SMEMBERS', REFUSED)
end
local fields = redis.call('HMGET', POOL, 'reaped', 'capacity_version', 'jumps')
local left = learning_left()
return {
  { held, capacity, high_water, waiting, left, tonumber(fields[1]) or 0 },
  clients[1],
  clients[2],
  found[1],
  pods,
  line,
  refused,
  { epoch_number(epoch), tonumber(fields[2]) or 0, tonumber(fields[3]) or 0 },
}
