-- What the scripts of a pool share; it stands, after server.lua and records.lua, in front of each of them.
--
-- Invariants after every script, with the numbers that records.lua gives the keys:
--   - 5 counts 4 by client, 10 counts 4 by pod; 8 and 9 count 7; 6 and 7 hold the same ids; no count of zero is kept;
--     `held` counts 4;
--   - nothing is granted while held >= capacity, nothing while learning, and nothing to a newcomer while somebody waits;
--   - nobody who may still wait stands in line while held < capacity, unless the pool is learning, or the script has said
--     that there is more to do;
--   - whatever is in 4 or 7 belongs to an incarnation that is in 2 and in 3, or will be swept;
--   - the fields tickets, high_water, clock and epoch of 1 never fall within an epoch.
--
-- No script keeps the store for long: it looks at `LOOKS` waiters and `LOOKS` records at most, besides what it was asked
-- for, and then says that there is more to do. Whoever hears that sends a heartbeat at once, which goes on. What is
-- left to do takes no place from anybody: what a removed pod held counts as held until it is swept, and newcomers stand
-- in line behind those who were there.
--
-- Pool time is the server's clock with its jumps taken out. Heartbeats move it on by what has passed since the last one,
-- and by one step at most; a step back counts as nothing. So a lease may end late, but never early by more than one step,
-- which is 3/16 of the shortest lease and less than what pods take off their own; and time never stands still while
-- one pod beats.
--
-- An epoch is the time through which the store has certainly forgotten nothing. A new one begins when
--   - the store is empty, or its server is not the one on record, or has been a replica since (a restart, a fail-over);
--   - a pod knows a newer epoch, or a higher ticket of this one: the store has gone back to an earlier state;
--   - the numbers of the pool do not agree with each other or with the records: somebody's hand was here.
-- What is then stored may be out of date, so all of it is dropped, and the pool learns: for the longest lease that anybody
-- knows of it grants nothing, while living pods declare what they hold and who waits with which ticket. A silence of
-- all pods for a lease leaves what is stored as it is, but for one step nothing is granted: so long, pods that have been to
-- another server meanwhile may take to say so.
--
-- A script must not fail half way: there is no undoing. So all that may fail by rights of the user is asked with pcall.

local LAYOUT = 2
local LOOKS = 200 -- waiters, and records, that one script looks at
local MOST_PODS = 50 -- that one script removes
local MOST_COUNTS = 2000 -- that one script adds up
-- An epoch's first ticket is the time; no pool gives out so many that the next epoch would begin below its last.
local TICKETS_PER_MS = 1000
local MOST = 2 ^ 53

-- What became of a call.
local DONE, GONE, STALE, FORGOTTEN, NEWER, SHUT_OUT, NAMELESS = 1, 0, -1, -2, -3, -4, -5
-- What became of an acquire or a leave.
local GRANTED, WAITING, FULL, CLIENT_LIMIT, LINE_FULL, LEFT, NOWHERE, LEARNING = 1, 2, 3, 4, 5, 6, 7, 8

local function size(command, key)
  local number = redis.pcall(command, key)
  if type(number) ~= 'number' then -- the key holds something else
    damaged = true
    return 0
  end
  return number
end

local capacity, tickets, high_water, epoch, clock, seen, step, learning_until
local held, waiting
local reserved = 0 -- places that pods of layout 1 have, or may take
local tickets_before, high_water_before, held_before
local function read_pool()
  local numbers =
    redis.pcall('HMGET', POOL, 'capacity', 'tickets', 'high_water', 'epoch', 'clock', 'seen', 'step', 'learning_until', 'held', 'damaged', 'reserved')
  if numbers.err then
    damaged, numbers = true, {}
  end
  capacity, tickets, high_water = tonumber(numbers[1]) or 0, tonumber(numbers[2]) or 0, tonumber(numbers[3]) or 0
  epoch, clock, seen = numbers[4], tonumber(numbers[5]) or 0, tonumber(numbers[6]) or 0
  step, learning_until = tonumber(numbers[7]) or 0, tonumber(numbers[8]) or 0
  held_before = tonumber(numbers[9]) or 0
  tickets_before, high_water_before = tickets, high_water
  held, waiting = size('HLEN', PERMITS), size('ZCARD', LINE)
  reserved = tonumber(numbers[11]) or 0
  damaged = damaged or held ~= held_before or numbers[10] == '1'
end
read_pool()

local handed = {} -- incarnation → the ids and tickets that this script handed to its waiters; ticket 0: over the limit
local looks = LOOKS -- at waiters, left to this script
local more = false -- whether there is more to do
local unsealed = false -- whether a number has changed that the sum is made of

-- The numbers that change seldom are sealed with a sum, so that a heartbeat sees when somebody's hand has changed one.
local SEALED = {
  'layout',
  'epoch',
  'run',
  'clock',
  'seen',
  'step',
  'learning_since',
  'learning_until',
  'capacity',
  'capacity_version',
  'capacity_seed',
  'jumps',
}

local function sum_of_pool()
  local values = call('HMGET', POOL, unpack(SEALED))
  for index, value in ipairs(values) do
    values[index] = value or '-'
  end
  return redis.sha1hex(table.concat(values, ' '))
end

local function set_fields(...)
  call('HSET', POOL, ...)
  unsealed = true
end

local cached_now
local function pool_now()
  if not cached_now then
    cached_now = clock + math.max(0, math.min(server_ms() - seen, step))
  end
  return cached_now
end

local function learning()
  return damaged or (learning_until > 0 and pool_now() < learning_until)
end

local function learning_left()
  return learning_until > 0 and math.max(0, learning_until - pool_now()) or 0
end

-- The shortest and the longest lease of the pods that are here; nothing when there are none.
local function lease_lengths()
  local shortest, longest
  for _, word in ipairs(call('HKEYS', LEASE_LENGTHS)) do
    local length = tonumber(word)
    if length then
      shortest, longest = math.min(shortest or length, length), math.max(longest or length, length)
    end
  end
  return shortest, longest
end

-- Heartbeats come eight times a lease; the shortest lease says how large a step may be.
local function measure_step()
  local shortest = lease_lengths()
  local measured = shortest and math.max(1, math.floor(shortest * 3 / 16)) or step
  if measured ~= step then
    step = measured
    set_fields('step', step)
  end
end

-- Move pool time on. Only heartbeats do that, and what changes the pods.
local function move_on()
  local real = server_ms()
  local passed = real - seen
  clock = clock + math.max(0, math.min(passed, step))
  if step > 0 and (passed < 0 or passed > step) then
    call('HINCRBY', POOL, 'jumps', 1)
    local _, longest = lease_lengths()
    if longest and passed > longest and learning_until < clock + step then
      learning_until = clock + step
      set_fields('learning_since', whole(clock), 'learning_until', whole(learning_until))
    end
  end
  seen = real
  cached_now = clock
  if learning_until > 0 and clock >= learning_until then
    learning_until = 0
  end
  set_fields('clock', whole(clock), 'seen', whole(seen), 'learning_until', whole(learning_until))
end

local function add_up(key)
  local total = 0
  for _, number in ipairs(call('HVALS', key)) do
    total = total + (tonumber(number) or MOST)
  end
  return total
end

-- Whether the numbers of the pool agree with each other and with the records, as far as a glance can tell.
local function sound()
  local types = {
    [PODS] = 'hash', [LEASES] = 'zset', [PERMITS] = 'hash', [CLIENTS] = 'hash', [LINE] = 'zset', [WAITERS] = 'hash',
    [CLIENTS_WAITING] = 'hash', [PODS_WAITING] = 'hash', [PODS_HELD] = 'hash', [REFUSED] = 'set', [LEASE_LENGTHS] = 'hash',
  }
  for key, kind in pairs(types) do
    local found = call('TYPE', key).ok
    if found ~= kind and found ~= 'none' then
      damaged = true
    end
  end
  if damaged then
    return false
  end
  for _, number in ipairs({ tickets, high_water, held_before }) do
    if not (number >= 0 and number < MOST and number % 1 == 0) then
      return false
    end
  end
  if call('HLEN', WAITERS) ~= waiting or call('HLEN', PODS) ~= call('ZCARD', LEASES) then
    return false
  end
  local last = call('ZRANGE', LEASES, -1, -1, 'WITHSCORES')
  if last[1] then
    local _, longest = lease_lengths()
    return longest ~= nil and tonumber(last[2]) <= clock + longest
  end
  return true
end

-- Whether the counts add up to the records, unless there are too many to add up here.
local function counts_agree()
  for key, total in pairs({ [CLIENTS] = held, [PODS_HELD] = held, [CLIENTS_WAITING] = waiting, [PODS_WAITING] = waiting }) do
    if call('HLEN', key) <= MOST_COUNTS and add_up(key) ~= total then
      return false
    end
  end
  return true
end

local function epoch_number(name)
  return tonumber(string.match(name or '', '^%d+')) or 0
end

-- Drop what is stored, and learn for the longest lease that is known of. The epoch is newer than all that pods know. Of a
-- pool that is not sealed nothing is kept, for its numbers were changed by somebody's hand.
local function begin_epoch(run, lease_ms, known, witness, sealed)
  local _, longest = nil, nil
  if not damaged then
    _, longest = lease_lengths()
  end
  local real = server_ms()
  local number = math.max(real, epoch_number(epoch) + 1, epoch_number(known) + 1)
  local base = math.max(tickets < MOST and tickets >= 0 and tickets or 0, witness, real * TICKETS_PER_MS)
  local high = high_water < MOST and high_water >= 0 and high_water or 0
  local reaped = tonumber(call('TYPE', POOL).ok == 'hash' and call('HGET', POOL, 'reaped')) or 0
  if not sealed then
    call('DEL', POOL)
    clock = 0
  end
  if call('TYPE', REFUSED).ok ~= 'set' then
    call('DEL', REFUSED)
  end
  call('DEL', PODS, LEASES, PERMITS, CLIENTS, LINE, WAITERS, CLIENTS_WAITING, PODS_WAITING, PODS_HELD, LEASE_LENGTHS)
  call('HDEL', POOL, 'sweep', 'sweep_again', 'damaged')
  clock = math.max(clock, real)
  epoch = whole(number) .. '-' .. string.sub(run, 1, 8)
  damaged = false
  set_fields(
    'layout', LAYOUT, 'epoch', epoch, 'run', run, 'clock', whole(clock), 'seen', whole(real),
    'step', math.max(1, math.floor(lease_ms * 3 / 16)), 'learning_since', whole(clock),
    'learning_until', whole(clock + math.max(lease_ms, longest or 0)), 'tickets', whole(base), 'held', 0,
    'high_water', whole(high), 'reaped', whole(reaped), 'audited', whole(clock)
  )
  for key in pairs(changed) do
    records[key], changed[key] = {}, {}
  end
  for key in pairs(changes) do
    changes[key] = {}
  end
  read_pool()
  cached_now = clock
end

-- Make sure that what is stored can be trusted; otherwise begin a new epoch. `known` and `witness` are the newest epoch and
-- the highest ticket of it that the pod which calls has heard of. Says whether the server can be trusted at all.
local trusted = false
local function trust_store(lease_ms, known, witness)
  if trusted then
    return true
  end
  local run = server_run()
  if not run then
    return false
  end
  trusted = true
  local back = false
  if epoch and known == epoch then
    back = witness > tickets
  elseif epoch and known ~= '' then
    back = epoch_number(known) >= epoch_number(epoch)
  end
  local sealed = epoch and call('HGET', POOL, 'sum') == sum_of_pool()
  if not sealed or not sound() or back or call('HGET', POOL, 'run') ~= run then
    begin_epoch(run, lease_ms, known, known == epoch and witness or 0, sealed)
  end
  return true
end

-- The capacity by the settings of the first pod; set by hand or by newer settings later.
local function seed_capacity(seed, news)
  local last_seed = tonumber(call('HGET', POOL, 'capacity_seed'))
  if not last_seed or (news and last_seed ~= seed) then
    capacity = seed
    call('HINCRBY', POOL, 'capacity_version', 1)
    set_fields('capacity', capacity, 'capacity_seed', seed)
  end
end

-- A pod that may have, or know of, a longer lease than those before it must have the time to declare, too.
local function learn_at_least(lease_ms)
  if learning_left() > 0 then
    local until_ms = (tonumber(call('HGET', POOL, 'learning_since')) or clock) + lease_ms
    if until_ms > learning_until then
      learning_until = until_ms
      set_fields('learning_until', whole(learning_until))
    end
  end
end

local function parse_pod(record)
  local generation, lease_ms, setting, part = string.match(record or '', '^(%d+) (%d+) (%d+) (%d+)$')
  return tonumber(generation), tonumber(lease_ms), tonumber(setting), tonumber(part)
end

local function put_pod(pod, generation, lease_ms, setting, part)
  local _, lease_before = parse_pod(call('HGET', PODS, pod))
  call('HSET', PODS, pod, generation .. ' ' .. whole(lease_ms) .. ' ' .. whole(setting) .. ' ' .. part)
  call('ZADD', LEASES, whole(clock + lease_ms), pod)
  if lease_before ~= lease_ms then
    if lease_before and call('HINCRBY', LEASE_LENGTHS, whole(lease_before), -1) <= 0 then
      call('HDEL', LEASE_LENGTHS, whole(lease_before))
    end
    call('HINCRBY', LEASE_LENGTHS, whole(lease_ms), 1)
    measure_step()
  end
end

-- Nothing, when this call may be served; otherwise what to answer instead:
-- GONE for an incarnation that was reaped or replaced; FORGOTTEN for one that does not know this epoch, which may declare
-- what it holds; STALE for a call that was delayed on a connection which its pod gave up since; NAMELESS by a server that
-- does not say who it is. The first call on a new connection asks whether the server is still the same, for whoever
-- restarts breaks all connections.
-- One that is known here and does not know the epoch has not heard that it was let in: by a declaration whose answer was
-- lost, or by one that was delayed and says what was true before. So it must declare again.
local function refusal(pod, generation, lease_ms, pods_epoch, witness)
  local known = parse_pod(call('HGET', PODS, pod))
  if not epoch or not known or generation > known or witness > tickets or pods_epoch ~= epoch or damaged then
    if not trust_store(lease_ms, pods_epoch, witness) then
      return NAMELESS
    end
    known = parse_pod(call('HGET', PODS, pod))
  end
  if not known then
    return pods_epoch == epoch and GONE or FORGOTTEN
  elseif generation < known then
    return STALE
  elseif pods_epoch ~= epoch then
    return FORGOTTEN
  elseif generation > known then
    local _, length, setting, part = parse_pod(call('HGET', PODS, pod))
    call('HSET', PODS, pod, generation .. ' ' .. whole(length) .. ' ' .. whole(setting) .. ' ' .. part)
  end
end

local function next_ticket()
  tickets = tickets + 1
  return tickets
end

local pods_here = {} -- incarnation → whether it is in
local function is_here(pod)
  if pods_here[pod] == nil then
    pods_here[pod] = call('HEXISTS', PODS, pod) == 1
  end
  return pods_here[pod]
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

-- A waiter whose client could not be looked at when it came brings the limit along; 0: it was looked at.
local function join_line(id, ticket, pod, since, until_ms, limit, client)
  call('ZADD', LINE, ticket, id)
  keep(
    WAITERS,
    id,
    ticket .. ' ' .. pod .. ' ' .. whole(since) .. ' ' .. whole(until_ms) .. ' ' .. limit .. ' ' .. client
  )
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

local function hand_over(id, ticket, pod)
  local list = handed[pod]
  if not list then
    list = {}
    handed[pod] = list
  end
  list[#list + 1] = id
  list[#list + 1] = ticket
end

local function serve_waiter(id, record)
  local ticket, pod, client, _, until_ms, limit = parse_waiter(record)
  if not ticket then
    waiting = waiting - 1
    return
  end
  forget_waiter(id, pod, client)
  if until_ms <= pool_now() or not is_here(pod) then
    return
  elseif limit > 0 and counted(CLIENTS, client) >= limit then
    hand_over(id, 0, pod)
  else
    grant(id, ticket, pod, client)
    hand_over(id, ticket, pod)
  end
end

local function free()
  return capacity - reserved - held
end

-- Hand what is free to the head of the line, and on to the next for each whose time is over.
local function serve_line()
  if waiting == 0 or free() <= 0 or learning() then
    return
  end
  local most = math.min(waiting, free(), looks)
  while most > 0 do
    local heads, ids = call('ZPOPMIN', LINE, most), {}
    for at = 1, #heads, 2 do
      ids[#ids + 1] = heads[at]
    end
    looks = looks - #ids
    fetch(WAITERS, ids)
    for _, id in ipairs(ids) do
      local record = records[WAITERS][id]
      if record then
        serve_waiter(id, record)
      else
        waiting = waiting - 1 -- somebody's hand took the record; to stop here would lose all that this script has done
        damaged = true
      end
    end
    most = #ids > 0 and math.min(waiting, free(), looks) or 0
  end
  if waiting > 0 and free() > 0 then
    more = true
  end
end

local function take_back(id, pod, client)
  keep(PERMITS, id, false)
  count(CLIENTS, client, -1)
  count(PODS_HELD, pod, -1)
  held = held - 1
end

-- Let a pod go. What it held and waited for is swept from now on, and counts until then.
local function remove_pod(pod)
  local _, lease_ms = parse_pod(call('HGET', PODS, pod))
  call('HDEL', PODS, pod)
  call('ZREM', LEASES, pod)
  pods_here[pod] = false
  if lease_ms and call('HINCRBY', LEASE_LENGTHS, whole(lease_ms), -1) <= 0 then
    call('HDEL', LEASE_LENGTHS, whole(lease_ms))
  end
  if counted(PODS_HELD, pod) + counted(PODS_WAITING, pod) > 0 then
    call('HSET', POOL, 'sweep_again', 1)
  end
end

-- Remove the pods whose lease has ended, all or all but one; a few at a time.
local function reap(but)
  local permits, removed = 0, 0
  for _, pod in ipairs(call('ZRANGEBYSCORE', LEASES, '-inf', whole(pool_now()), 'LIMIT', 0, MOST_PODS)) do
    if pod ~= but then
      permits = permits + counted(PODS_HELD, pod)
      removed = removed + 1
      remove_pod(pod)
    end
  end
  if removed > 0 then
    more = more or removed >= MOST_PODS - 1
    call('HINCRBY', POOL, 'reaped', permits)
    measure_step()
  end
end

-- During an upgrade, pods of layout 1 may still be there; they have a pool of their own, with keys of other names. So that no
-- more are held than there are, that pool is given half of the capacity at most, and as many places as it holds or may yet
-- hand out are not free here. When its pods are gone, or silent for their longest lease, it is removed.
local function share_with_old_pods()
  local before = reserved
  reserved = 0
  if OLD_POOL and call('TYPE', OLD_POOL).ok == 'hash' then
    local begin = string.sub(OLD_POOL, 1, -#'pool' - 1)
    local longest, pods = 0, call('TYPE', begin .. 'pods').ok == 'hash' and call('HVALS', begin .. 'pods') or {}
    for _, pod in ipairs(pods) do
      longest = math.max(longest, tonumber(string.match(pod, ' (%d+)$')) or 0)
    end
    local old = call('HMGET', OLD_POOL, 'seen', 'capacity')
    if #pods == 0 or server_ms() - (tonumber(old[1]) or 0) > longest then
      for _, key in ipairs({
        'pool', 'pods', 'leases', 'permits', 'clients', 'line', 'waiters', 'clients_waiting', 'pods_waiting', 'pods_held', 'refused',
      }) do
        call('DEL', begin .. key)
      end
    else
      local share = math.floor(capacity / 2)
      if (tonumber(old[2]) or 0) > share then
        call('HSET', OLD_POOL, 'capacity', share)
      end
      reserved = math.max(call('HLEN', OLD_PERMITS), share)
    end
  end
  if reserved ~= before then
    call('HSET', POOL, 'reserved', reserved)
  end
end

-- Look at some of the records, and take back what belongs to pods that are not here any more. One pass looks at permits,
-- then at waiters; pods that are removed meanwhile need another. Without such pods, a pass is begun once a lease, and goes
-- on with heartbeats only: it looks for records that no script has written.
local function sweep()
  local state = call('HMGET', POOL, 'sweep', 'sweep_again')
  local hurried, again = string.match(state[1] or '', '^h'), state[2]
  local phase, cursor = string.match(state[1] or '', '^%l(%l) (%d+)$')
  if not hurried then
    if again then
      hurried, phase, cursor = 'h', 'p', '0'
      call('HDEL', POOL, 'sweep_again')
    elseif not phase then
      return
    end
  end
  write_back()
  local key = phase == 'p' and PERMITS or WAITERS
  local found = call('HSCAN', key, cursor, 'COUNT', LOOKS)
  local words = found[2]
  for at = 1, #words, 2 do
    local id, record = words[at], words[at + 1]
    if records[key][id] ~= false then -- some come twice
      if phase == 'p' then
        local ticket, pod, client = parse(record)
        if ticket and not is_here(pod) then
          take_back(id, pod, client)
        end
      else
        local ticket, pod, client = parse_waiter(record)
        if ticket and not is_here(pod) then
          leave_line(id, pod, client)
        end
      end
    end
  end
  local next_state = (hurried and 'h' or 'a') .. phase .. ' ' .. found[1]
  if found[1] == '0' then
    next_state = phase == 'p' and (hurried and 'h' or 'a') .. 'w 0'
    if not next_state and call('HGET', POOL, 'sweep_again') then
      next_state = 'hp 0'
      call('HDEL', POOL, 'sweep_again')
    end
  end
  if next_state then
    call('HSET', POOL, 'sweep', next_state)
    more = more or string.sub(next_state, 1, 1) == 'h'
  else
    call('HDEL', POOL, 'sweep')
  end
end

-- Once a lease, add up the counts and begin to look at all records.
local function audit()
  local _, longest = lease_lengths()
  if longest and clock >= (tonumber(call('HGET', POOL, 'audited')) or 0) + longest then
    call('HSET', POOL, 'audited', whole(clock))
    if not counts_agree() then
      damaged = true
    end
    if not call('HGET', POOL, 'sweep') then
      call('HSET', POOL, 'sweep', 'ap 0')
    end
  end
end

-- Write back what changed, tell the other pods what was handed to them, and return what was handed to this one.
-- A notice says "incarnation epoch id ticket id ticket …". It may be lost: the next heartbeat of that pod makes good for
-- it. It may be late: a pod that has declared its waiters since would believe in permits that the store has forgotten, so
-- notices of another epoch do not count.
local function finish(own)
  write_back()
  local words = {}
  if tickets ~= tickets_before then
    words = { 'tickets', whole(tickets) }
  end
  if held ~= held_before and not damaged then
    words[#words + 1] = 'held'
    words[#words + 1] = held
  end
  if high_water ~= high_water_before then
    words[#words + 1] = 'high_water'
    words[#words + 1] = high_water
  end
  if damaged then
    words[#words + 1] = 'damaged'
    words[#words + 1] = 1
    more = true
  end
  if unsealed then
    words[#words + 1] = 'sum'
    words[#words + 1] = sum_of_pool()
  end
  if #words > 0 then
    call('HSET', POOL, unpack(words))
  end
  for pod, list in pairs(handed) do
    if pod ~= own then
      redis.pcall('PUBLISH', CHANNEL .. string.match(pod, '^(.*)%.%d+$'), pod .. ' ' .. epoch .. ' ' .. table.concat(list, ' '))
    end
  end
  return handed[own] or {}
end
