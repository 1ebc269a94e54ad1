#!lua flags=allow-oom
-- Takes in what a pod holds, and who waits there, after the store has forgotten it.
--
-- KEYS: see records.lua.
-- ARGV: 1 incarnation, 2 connection generation, 3 lease (ms), 4 the epoch that it knows, 5 capacity by its settings,
--       6 how many permits follow; then three for each permit: id, ticket, client; and four for each waiter: id, ticket, client, waits on (ms).
-- Returns: {DONE, lease (ms), epoch}, and the lease counts anew; {GONE}: too late, all of it is lost; or {STALE}.
-- It is only ever too late for a pod whose own deadline has passed: learning takes longer than that.

local own, generation, lease_ms, count = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[6])

local refused = refusal(own, generation, lease_ms, ARGV[4])
local known = tonumber(string.match(call('HGET', PODS, own) or '', '^%d+'))
if refused ~= FORGOTTEN or known == generation then
  return { refused or DONE, lease_ms, epoch } -- known == generation: this very declaration has been here before
end
learn_at_least(lease_ms)
if not learning() then
  return { GONE }
end
if known then
  strike({ [own] = true }) -- what an earlier declaration said; see `refusal`
end
move_on()
seed_capacity(tonumber(ARGV[5]), false)
call('HSET', PODS, own, generation .. ' ' .. whole(lease_ms))
call('ZADD', LEASES, whole(clock + lease_ms), own)
measure_step()

local at = 7
for _ = 1, count do
  local ticket = tonumber(ARGV[at + 1])
  grant(ARGV[at], wide(ticket), own, ARGV[at + 2])
  tickets = math.max(tickets, ticket)
  at = at + 3
end
while at < #ARGV do
  local ticket = tonumber(ARGV[at + 1])
  join_line(ARGV[at], wide(ticket), own, clock, clock + tonumber(ARGV[at + 3]) + step, ARGV[at + 2])
  tickets = math.max(tickets, ticket)
  at = at + 4
end
finish(own)
return { DONE, lease_ms, epoch }
