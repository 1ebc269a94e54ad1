-- What the scripts of a pool share; it stands, after server.lua and records.lua, in front of each of them.
--
-- Invariants after every script, with the numbers that records.lua gives the keys:
--   - 5 counts 4 by client, 10 counts 4 by pod; 8 and 9 count 7; 6 and 7 hold the same ids; no count of zero is kept;
--   - nobody who may still wait stands in line while held < capacity, unless the pool is learning;
--   - nothing is granted while held >= capacity, and nothing new while learning;
--   - whatever is in 4 or 7 belongs to an incarnation that is in 2 and in 3;
--   - the fields tickets, high_water, clock and epoch of 1 never fall within an epoch.
--
-- Pool time is the server's clock with its jumps taken out. Heartbeats move it on by what has passed since the last one;
-- a step back, or one larger than heartbeats can be apart, is a jump or a long silence, and counts as no time at all. So
-- a lease may end late, but never early by more than one step, which is less than what pods take off their own leases.
--
-- An epoch is the time through which the store has certainly forgotten nothing. One begins when the store is empty or
-- its server is not the one on record (a restart, a fail-over). What is then stored may be out of date, so all of it is
-- dropped, and the pool learns: for a whole lease it grants nothing new, while living pods declare what they hold and who
-- waits with which ticket. What the declared give back goes to the declared, for that place is known to be free.
--
-- A script must not fail half way: there is no undoing. So all that may fail by rights of the user is asked with pcall.

local LAYOUT = 1
-- An epoch's first ticket is the time; no pool gives out so many that the next epoch would begin below its last.
local TICKETS_PER_MS = 1000

-- What became of a call.
local DONE, GONE, STALE, FORGOTTEN, NEWER, SHUT_OUT = 1, 0, -1, -2, -3, -4
-- What became of an acquire or a leave.
local GRANTED, WAITING, FULL, CLIENT_LIMIT, LINE_FULL, LEFT, NOWHERE = 1, 2, 3, 4, 5, 6, 7

local capacity, tickets, high_water, epoch, clock, seen, step, learning_until
local held, waiting
local tickets_before, high_water_before
local function read_pool()
  local numbers = call('HMGET', POOL, 'capacity', 'tickets', 'high_water', 'epoch', 'clock', 'seen', 'step', 'learning_until')
  capacity, tickets, high_water = tonumber(numbers[1]) or 0, tonumber(numbers[2]) or 0, tonumber(numbers[3]) or 0
  epoch, clock, seen = numbers[4], tonumber(numbers[5]) or 0, tonumber(numbers[6]) or 0
  step, learning_until = tonumber(numbers[7]) or 0, tonumber(numbers[8]) or 0
  tickets_before, high_water_before = tickets, high_water
  held, waiting = call('HLEN', PERMITS), call('ZCARD', LINE)
end
read_pool()

local handed = {} -- incarnation → the ids and tickets that this script handed to its waiters
local freed = 0 -- places that this script took back

local cached_now
local function pool_now()
  if not cached_now then
    local passed = server_ms() - seen
    cached_now = (passed > 0 and passed <= step) and clock + passed or clock
  end
  return cached_now
end

-- Move pool time on. Only heartbeats do that, and what changes the pods.
local function move_on()
  local real = server_ms()
  local passed = real - seen
  if passed > 0 and passed <= step then
    clock = clock + passed
  elseif step > 0 and passed ~= 0 then
    call('HINCRBY', POOL, 'jumps', 1)
  end
  seen = real
  cached_now = clock
  call('HSET', POOL, 'clock', whole(clock), 'seen', whole(seen))
  if learning_until > 0 and clock >= learning_until then
    learning_until = 0
    call('HSET', POOL, 'learning_until', 0)
  end
end

local function learning()
  return learning_until > 0 and pool_now() < learning_until
end

-- Heartbeats come eight times a lease; the shortest lease says how large a step may be.
local function measure_step()
  local shortest
  for _, pod in ipairs(call('HVALS', PODS)) do
    local lease_ms = tonumber(string.match(pod, ' (%d+)$'))
    if not shortest or lease_ms < shortest then
      shortest = lease_ms
    end
  end
  if shortest then
    step = math.floor(shortest * 3 / 16)
    call('HSET', POOL, 'step', step)
  end
end

-- Make sure that what is stored can be trusted; otherwise begin a new epoch, and learn for a lease.
local function trust_store(lease_ms)
  local run = server_run()
  if epoch and call('HGET', POOL, 'run') == run then
    return
  end
  call('DEL', PODS, LEASES, PERMITS, CLIENTS, LINE, WAITERS, CLIENTS_WAITING, PODS_WAITING, PODS_HELD)
  local real = server_ms()
  clock = math.max(clock, real)
  epoch = whole(math.max(real, (tonumber(epoch) or 0) + 1))
  call('HSET', POOL, 'epoch', epoch, 'run', run, 'clock', whole(clock), 'seen', whole(real),
    'learning_since', whole(clock), 'learning_until', whole(clock + lease_ms), 'tickets', whole(math.max(tickets, real * TICKETS_PER_MS)))
  read_pool()
  cached_now = clock
end

-- The capacity by the settings of the first pod; set by hand or by newer settings later.
local function seed_capacity(seed, news)
  local last_seed = tonumber(call('HGET', POOL, 'capacity_seed'))
  if not last_seed or (news and last_seed ~= seed) then
    capacity = seed
    call('HSET', POOL, 'capacity', capacity, 'capacity_seed', seed)
    call('HINCRBY', POOL, 'capacity_version', 1)
  end
end

-- A pod that may have a longer lease than those before it must have the time to declare, too.
local function learn_at_least(lease_ms)
  if learning() then
    local until_ms = tonumber(call('HGET', POOL, 'learning_since')) + lease_ms
    if until_ms > learning_until then
      learning_until = until_ms
      call('HSET', POOL, 'learning_until', whole(learning_until))
    end
  end
end

-- Nothing, when this call may be served; otherwise what to answer instead:
-- GONE for an incarnation that was reaped or replaced; FORGOTTEN for one that does not know this epoch, which may declare
-- what it holds; STALE for a call that was delayed on a connection which its pod gave up since. The first call on a new
-- connection asks whether the server is still the same, for whoever restarts breaks all connections.
-- One that is known here and does not know the epoch has not heard that it was let in: by a declaration whose answer was
-- lost, or by one that was delayed and says what was true before. So it must declare again.
local function refusal(pod, generation, lease_ms, pods_epoch)
  local record = call('HGET', PODS, pod)
  local known = record and tonumber(string.match(record, '^%d+'))
  if not epoch or not known or generation > known then
    trust_store(lease_ms)
    record = call('HGET', PODS, pod)
    known = record and tonumber(string.match(record, '^%d+'))
  end
  if not known then
    return pods_epoch == epoch and GONE or FORGOTTEN
  elseif generation < known then
    return STALE
  elseif pods_epoch ~= epoch then
    return FORGOTTEN
  elseif generation > known then
    call('HSET', PODS, pod, generation .. string.match(record, ' %d+$'))
  end
end

local function next_ticket()
  tickets = tickets + 1
  return tickets
end

-- In what follows, tickets are wide.

local function grant(id, ticket, pod, client)
  keep(PERMITS, id, ticket .. ' ' .. pod .. ' ' .. client)
  count(CLIENTS, client, 1)
  count(PODS_HELD, pod, 1)
  held = held + 1
  if held > high_water then
    high_water = held
  end
end

local function join_line(id, ticket, pod, since, until_ms, client)
  call('ZADD', LINE, ticket, id)
  keep(WAITERS, id, ticket .. ' ' .. pod .. ' ' .. whole(since) .. ' ' .. whole(until_ms) .. ' ' .. client)
  count(CLIENTS_WAITING, client, 1)
  count(PODS_WAITING, pod, 1)
  waiting = waiting + 1
end

local function forget_waiter(id, pod, client)
  keep(WAITERS, id, false)
  count(CLIENTS_WAITING, client, -1)
  count(PODS_WAITING, pod, -1)
  waiting = waiting - 1
end

local function leave_line(id, pod, client)
  call('ZREM', LINE, id)
  forget_waiter(id, pod, client)
end

-- How many of those in line can be served; while learning, only what was freed.
local function servable()
  local free = capacity - held
  return math.min(waiting, learning() and math.min(free, freed) or free)
end

local function hand_over(id, ticket, pod)
  local list = handed[pod]
  if not list then
    list = {}
    handed[pod] = list
  end
  list[#list + 1] = id
  list[#list + 1] = ticket
end

-- Hand what is free to the head of the line, and on to the next for each whose time is over.
local function serve_line()
  local most = servable()
  while most > 0 do
    local heads, ids = call('ZPOPMIN', LINE, most), {}
    for at = 1, #heads, 2 do
      ids[#ids + 1] = heads[at]
    end
    fetch(WAITERS, ids)
    for _, id in ipairs(ids) do
      local record = records[WAITERS][id]
      if record then
        local ticket, pod, client, _, until_ms = parse_waiter(record)
        forget_waiter(id, pod, client)
        if until_ms > pool_now() then
          grant(id, ticket, pod, client)
          freed = freed - 1
          hand_over(id, ticket, pod)
        end
      else
        waiting = waiting - 1 -- somebody's hand took the record; to stop here would lose all that this script has done
      end
    end
    most = servable()
  end
end

local function take_back(id, pod, client)
  keep(PERMITS, id, false)
  count(CLIENTS, client, -1)
  count(PODS_HELD, pod, -1)
  held = held - 1
  freed = freed + 1
end

-- Take back all that these incarnations (a set) hold or wait for. Linear in what the pool holds, but only as a pod ends.
local function strike(pods)
  write_back()
  local permits = call('HGETALL', PERMITS)
  for at = 1, #permits, 2 do
    local _, pod, client = parse(permits[at + 1])
    if pods[pod] then
      take_back(permits[at], pod, client)
    end
  end
  local waiters = call('HGETALL', WAITERS)
  for at = 1, #waiters, 2 do
    local _, pod, client = parse_waiter(waiters[at + 1])
    if pods[pod] then
      leave_line(waiters[at], pod, client)
    end
  end
end

local function remove_pods(pods)
  strike(pods)
  for pod in pairs(pods) do
    call('HDEL', PODS, pod)
    call('ZREM', LEASES, pod)
  end
  measure_step()
  serve_line()
end

-- Remove the pods whose lease has ended, all or all but one.
local function reap(but)
  local pods, permits = {}, 0
  for _, pod in ipairs(call('ZRANGEBYSCORE', LEASES, '-inf', whole(pool_now()))) do
    if pod ~= but then
      pods[pod] = true
      permits = permits + counted(PODS_HELD, pod)
    end
  end
  if next(pods) then
    call('HINCRBY', POOL, 'reaped', permits)
    remove_pods(pods)
  end
end

-- Write back what changed, tell the other pods what was handed to them, and return what was handed to this one.
-- A notice says "incarnation epoch id ticket id ticket …". It may be lost: the next heartbeat of that pod makes good for
-- it. It may be late: a pod that has declared its waiters since would believe in permits that the store has forgotten, so
-- notices of another epoch do not count.
local function finish(own)
  write_back()
  if tickets ~= tickets_before then
    call('HSET', POOL, 'tickets', whole(tickets))
  end
  if high_water ~= high_water_before then
    call('HSET', POOL, 'high_water', high_water)
  end
  for pod, list in pairs(handed) do
    if pod ~= own then
      redis.pcall('PUBLISH', CHANNEL .. string.match(pod, '^(.*)%.%d+$'), pod .. ' ' .. epoch .. ' ' .. table.concat(list, ' '))
    end
  end
  return handed[own] or {}
end
