#!lua flags=allow-oom
-- Takes in what a pod holds, and who waits there, after the store has forgotten it; in as many parts as it takes.
--
-- KEYS: see records.lua.
-- ARGV: 1 incarnation, 2 connection generation, 3 lease (ms), 4 the newest epoch that it has heard of, 5 the highest ticket
--       of it, 6 the longest lease that it has heard of (ms), 7 capacity by its settings, 8 permits per client by its
--       settings, 9 the number of this part, 10 "1" for the last one,
--       11 how many permits follow; then three for each permit: id, ticket, client; and four for each waiter: id, ticket,
--       client, waits on (ms).
-- Returns: {DONE, lease (ms), epoch, capacity, longest lease (ms), learning for so long yet (ms)}, and after the last part the lease counts anew; {GONE}:
--          too late, all of it is lost; {STALE}: begin again; or {NAMELESS}.
-- It is only ever too late for a pod whose own deadline has passed: learning takes longer than that.

-- HERE STANDS epochs.lua
-- HERE STANDS pods.lua
-- HERE STANDS requests.lua

local own, generation, lease_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local seed, limit, part, last, count_of_permits = tonumber(ARGV[7]), ARGV[8], tonumber(ARGV[9]), ARGV[10] == '1', tonumber(ARGV[11])

if not trust_store(math.max(lease_ms, tonumber(ARGV[6])), ARGV[4], tonumber(ARGV[5])) then
  return { NAMELESS }
end
local known, _, _, part_before = parse_pod(redis.call('HGET', PODS, own))
learn_at_least(math.max(lease_ms, tonumber(ARGV[6])))
local function answer(status)
  finish(own)
  local _, longest = lease_lengths()
  return { status, lease_ms, epoch, capacity, longest or lease_ms, learning_left() }
end
if known and generation < known then
  return answer(STALE)
elseif known == generation and (part_before == 0 or part <= part_before) then
  return answer(DONE) -- this part has been here before
elseif part ~= (known == generation and part_before or 0) + 1 then
  return answer(STALE)
elseif learning_left() == 0 then
  return answer(GONE)
end
advance_clock()
seed_capacity(seed, false)
put_pod(own, generation, lease_ms, seed, last and 0 or part)

local ids, at = {}, 12
for _ = 1, count_of_permits do
  ids[#ids + 1] = ARGV[at]
  at = at + 3
end
while at < #ARGV do
  ids[#ids + 1] = ARGV[at]
  at = at + 4
end
fetch(PERMITS, ids)
fetch(WAITERS, ids)

at = 12
for index = 1, #ids do
  local id, ticket, client = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2]
  local new = not record_of(PERMITS, id) and not record_of(WAITERS, id) -- otherwise an earlier declaration said the same
  if ticket >= MOST_TICKET then -- taken from a number that was changed by hand
    ticket = next_ticket()
  end
  tickets = math.max(tickets, ticket)
  if index <= count_of_permits then
    if new then
      grant(id, pad_ticket(ticket), own, client)
    end
    at = at + 3
  else
    if new then
      local until_ms = clock + tonumber(ARGV[at + 3]) + max_clock_step
      add_waiter(id, pad_ticket(ticket), own, clock, until_ms, limit, client, lease_ms)
    end
    at = at + 4
  end
end
return answer(DONE)
