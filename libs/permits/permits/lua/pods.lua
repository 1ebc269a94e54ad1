-- Pods, epochs and pool time: what heartbeats need, and operations hardly ever.

local MOST_PODS = 50 -- that one script removes
local MOST_COUNTS = 2000 -- that one script adds up
local MOST_RECORDS = 200 -- of a kind, that one script counts by client and pod
local LONGEST_LEASE_MS = 24 * 3600 * 1000 -- of any pod
-- An epoch's first ticket is the time; no pool gives out so many that the next epoch would begin below its last. From `MOST`
-- on, numbers are not exact. So a ticket that is not far below begins a new epoch, and that takes over no ticket and no number
-- of an epoch from `MOST_TICKET` on, which tickets reach in 2112.
local TICKETS_PER_MS = 1000
local MOST = 2 ^ 53
local MOST_TICKET = MOST / 2

local function epoch_number(name)
  return tonumber(string.match(name or '', '^%d+')) or 0
end

local function parse_pod(record)
  local generation, lease_ms, setting, part = string.match(record or '', '^(%d+) (%d+) (%d+) (%d+)$')
  return tonumber(generation), tonumber(lease_ms), tonumber(setting), tonumber(part)
end

-- The numbers that change seldom are sealed with a sum, so that a heartbeat sees when somebody's hand has changed one.
local function sum_of_pool()
  local values = redis.call(
    'HMGET', POOL,
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
    'jumps'
  )
  for index, value in ipairs(values) do
    values[index] = value or '-'
  end
  return redis.sha1hex(table.concat(values, ' '))
end

local function set_fields(...)
  redis.call('HSET', POOL, ...)
  new_sum = sum_of_pool
end

-- The shortest and the longest lease of the pods that are here; nothing when there are none.
local function lease_lengths()
  local shortest, longest
  for _, word in ipairs(redis.call('HKEYS', LEASE_LENGTHS)) do
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
  local measured = shortest and math.max(1, math.floor(shortest * 3 / 16)) or max_clock_step
  if measured ~= max_clock_step then
    max_clock_step = measured
    set_fields('step', max_clock_step)
  end
end

-- Move pool time on. Only heartbeats do that, and what changes the pods.
local function advance_clock()
  local real = server_ms()
  local passed = real - seen
  clock = clock + math.max(0, math.min(passed, max_clock_step))
  if max_clock_step > 0 and (passed < 0 or passed > max_clock_step) then
    redis.call('HINCRBY', POOL, 'jumps', 1)
    local _, longest = lease_lengths()
    if longest and passed >= longest and learning_until < clock + longest then
      learning_until = clock + longest
      set_fields('learning_since', format_int(clock), 'learning_until', format_int(learning_until))
    end
  end
  seen = real
  cached_now = clock
  if learning_until > 0 and clock >= learning_until then
    learning_until = 0
  end
  set_fields('clock', format_int(clock), 'seen', format_int(seen), 'learning_until', format_int(learning_until))
end

local function add_up(key)
  local total = 0
  for _, number in ipairs(redis.call('HVALS', key)) do
    total = total + (tonumber(number) or MOST)
  end
  return total
end

-- A number that stands for a count; `MOST` for anything else.
local function whole(value)
  local number = tonumber(value or 0)
  return number and number >= 0 and number < MOST and number % 1 == 0 and number or MOST
end

-- Whether as many pods have a lease of each length as is on record; of more pods than `most`, whether there are as many.
local function lengths_agree(most)
  local pods, total, tally = redis.call('HLEN', PODS), 0, {}
  if pods <= most then
    for _, record in ipairs(redis.call('HVALS', PODS)) do
      local _, lease_ms = parse_pod(record)
      if not lease_ms then
        return false
      end
      local length = format_int(lease_ms)
      tally[length] = (tally[length] or 0) + 1
    end
  end
  local lengths = redis.call('HGETALL', LEASE_LENGTHS)
  for at = 1, #lengths, 2 do
    local length, number = tonumber(lengths[at]), whole(lengths[at + 1])
    total = total + number
    if not length or not (length >= 1 and length <= LONGEST_LEASE_MS) or (pods <= most and tally[lengths[at]] ~= number) then
      return false
    end
  end
  return total == pods
end

-- Whether the numbers of the pool agree with each other and with the records, as far as a glance can tell.
local function sound()
  local types = {
    [PODS] = 'hash', [LEASES] = 'zset', [PERMITS] = 'hash', [CLIENTS] = 'hash', [LINE] = 'zset', [WAITERS] = 'hash',
    [CLIENTS_WAITING] = 'hash', [PODS_WAITING] = 'hash', [PODS_HELD] = 'hash', [REFUSED] = 'set', [LEASE_LENGTHS] = 'hash',
  }
  for key, kind in pairs(types) do
    local found = redis.call('TYPE', key).ok
    if found ~= kind and found ~= 'none' then
      damaged = true
    end
  end
  if damaged then
    return false
  end
  if not lengths_agree(MOST_PODS) then
    damaged = true -- the lengths are not to be believed
    return false
  end
  for _, number in ipairs({ tickets, high_water, held_before, redis.call('HGET', POOL, 'reaped') }) do
    if whole(number) == MOST then
      return false
    end
  end
  if tickets >= MOST * 3 / 4 then
    return false
  end
  if redis.call('HLEN', WAITERS) ~= waiting or redis.call('HLEN', PODS) ~= redis.call('ZCARD', LEASES) then
    return false
  end
  local first, last = redis.call('ZRANGE', LEASES, 0, 0, 'WITHSCORES'), redis.call('ZRANGE', LEASES, -1, -1, 'WITHSCORES')
  if last[1] then
    local _, longest = lease_lengths()
    return tonumber(first[2]) >= clock - longest and tonumber(last[2]) <= clock + longest
  end
  return true
end

-- Whether counts are those of the records; of many records, whether they add up to as many, unless there are too many
-- counts to add up here.
local function counts_agree(key, total, parse_record, by_client, by_pod)
  if total > MOST_RECORDS then
    for _, counts in ipairs({ by_client, by_pod }) do
      if redis.call('HLEN', counts) <= MOST_COUNTS and add_up(counts) ~= total then
        return false
      end
    end
    return true
  end
  local tally = { [by_client] = {}, [by_pod] = {} }
  for _, record in ipairs(redis.call('HVALS', key)) do
    local ticket, pod, client = parse_record(record)
    if not ticket then
      return false
    end
    tally[by_client][client] = (tally[by_client][client] or 0) + 1
    tally[by_pod][pod] = (tally[by_pod][pod] or 0) + 1
  end
  for counts, numbers in pairs(tally) do
    local found = redis.call('HGETALL', counts)
    for at = 1, #found, 2 do
      if (numbers[found[at]] or 0) ~= whole(found[at + 1]) then
        return false
      end
      numbers[found[at]] = nil
    end
    if next(numbers) then
      return false
    end
  end
  return true
end

-- The highest of some numbers, leaving out those after the first that only somebody's hand can have written.
local function highest(number, ...)
  for _, other in ipairs({ ... }) do
    if other > number and other < MOST_TICKET then
      number = other
    end
  end
  return number
end

-- Drop what is stored, and learn for the longest lease that is known of. To free a large key takes the server milliseconds,
-- hence UNLINK. The epoch is newer than all that pods know. Of a pool that is not sealed nothing is kept, for its numbers were
-- changed by somebody's hand.
local function begin_epoch(run, lease_ms, known, witness, sealed)
  local _, longest = nil, nil
  if not damaged then
    _, longest = lease_lengths()
  end
  local real = server_ms()
  local number = highest(real, epoch_number(epoch) + 1, epoch_number(known) + 1)
  local base = highest(real * TICKETS_PER_MS, tickets, witness)
  local high = whole(high_water) % MOST
  local reaped = whole(redis.call('TYPE', POOL).ok == 'hash' and redis.call('HGET', POOL, 'reaped')) % MOST
  if not sealed then
    redis.call('UNLINK', POOL)
    clock = 0
  end
  if redis.call('TYPE', REFUSED).ok ~= 'set' then
    redis.call('UNLINK', REFUSED)
  end
  redis.call('UNLINK', PODS, LEASES, PERMITS, CLIENTS, LINE, WAITERS, CLIENTS_WAITING, PODS_WAITING, PODS_HELD, LEASE_LENGTHS)
  redis.call('UNLINK', PLACES, PLACES_UNTIL)
  redis.call('HDEL', POOL, 'sweep', 'sweep_again', 'damaged')
  clock = math.max(clock, real)
  epoch = format_int(number) .. '-' .. string.sub(run, 1, 8)
  damaged = false
  set_fields(
    'layout', LAYOUT, 'epoch', epoch, 'run', run, 'clock', format_int(clock), 'seen', format_int(real),
    'step', math.max(1, math.floor(lease_ms * 3 / 16)), 'learning_since', format_int(clock),
    'learning_until', format_int(clock + math.max(lease_ms, longest or 0)), 'tickets', format_int(base), 'held', 0,
    'high_water', format_int(high), 'reaped', format_int(reaped), 'audited', format_int(real)
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

local function is_sealed()
  return epoch and redis.call('HGET', POOL, 'sum') == sum_of_pool()
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
  local agrees, sealed = sound(), is_sealed() -- in any case: a new epoch asks how long leases are, if that can be believed
  if not agrees or not sealed or back or redis.call('HGET', POOL, 'run') ~= run then
    begin_epoch(run, lease_ms, known, known == epoch and witness or 0, sealed)
  end
  return true
end

-- Whether other pods may be removed by what is stored. Otherwise the next heartbeat begins a new epoch.
local function may_reap()
  write_back()
  if not trusted and not (is_sealed() and sound()) then
    damaged = true
  end
  return not damaged
end

-- The capacity by the settings of the first pod, unless it was set by hand before that; set by hand or by newer settings later.
local function seed_capacity(seed, news)
  local last_seed = tonumber(redis.call('HGET', POOL, 'capacity_seed'))
  if last_seed and not (news and last_seed ~= seed) then
    return
  elseif last_seed or capacity == 0 then
    capacity = seed
    redis.call('HINCRBY', POOL, 'capacity_version', 1)
  end
  set_fields('capacity', capacity, 'capacity_seed', seed)
end

-- A pod that may have, or know of, a longer lease than those before it must have the time to declare, too.
local function learn_at_least(lease_ms)
  if learning_left() > 0 then
    local until_ms = (tonumber(redis.call('HGET', POOL, 'learning_since')) or clock) + lease_ms
    if until_ms > learning_until then
      learning_until = until_ms
      set_fields('learning_until', format_int(learning_until))
    end
  end
end

local function put_pod(pod, generation, lease_ms, setting, part)
  local _, lease_before = parse_pod(redis.call('HGET', PODS, pod))
  redis.call('HSET', PODS, pod, generation .. ' ' .. format_int(lease_ms) .. ' ' .. format_int(setting) .. ' ' .. part)
  redis.call('ZADD', LEASES, format_int(clock + lease_ms), pod)
  if lease_before ~= lease_ms then
    if lease_before and redis.call('HINCRBY', LEASE_LENGTHS, format_int(lease_before), -1) <= 0 then
      redis.call('HDEL', LEASE_LENGTHS, format_int(lease_before))
    end
    redis.call('HINCRBY', LEASE_LENGTHS, format_int(lease_ms), 1)
    measure_step()
  end
end

-- Let a pod go. What it held and waited for is swept from now on, and counts until then.
local function remove_pod(pod)
  local _, lease_ms = parse_pod(redis.call('HGET', PODS, pod))
  redis.call('HDEL', PODS, pod)
  redis.call('ZREM', LEASES, pod)
  pods_here[pod] = false
  if lease_ms and redis.call('HINCRBY', LEASE_LENGTHS, format_int(lease_ms), -1) <= 0 then
    redis.call('HDEL', LEASE_LENGTHS, format_int(lease_ms))
  end
  if counted(PODS_HELD, pod) + counted(PODS_WAITING, pod) > 0 then
    redis.call('HSET', POOL, 'sweep_again', 1)
    sweeping = true
  end
end

-- Remove the pods whose lease has ended, all or all but one; a few at a time.
local function reap(but)
  local permits, removed = 0, 0
  for _, pod in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', format_int(pool_now()), 'LIMIT', 0, MOST_PODS)) do
    if pod ~= but then
      permits = permits + counted(PODS_HELD, pod)
      removed = removed + 1
      remove_pod(pod)
    end
  end
  if removed > 0 then
    more = more or removed >= MOST_PODS - 1
    redis.call('HINCRBY', POOL, 'reaped', permits)
    measure_step()
  end
end

-- During an upgrade, pods of layout 1 may still be there; they have a pool of their own, with keys of other names. So that no
-- more are held than there are, that pool is given half of the capacity at most, and as many places as it holds or may yet
-- hand out are not free here. When its pods are gone, or silent for their longest lease, it is removed. Its capacity before is
-- kept for a rollback (leave.lua).
local function share_with_old_pods()
  local before = reserved
  reserved = 0
  if OLD_POOL and redis.call('TYPE', OLD_POOL).ok == 'hash' then
    local begin = string.sub(OLD_POOL, 1, -#'pool' - 1)
    local longest, pods = 0, redis.call('TYPE', begin .. 'pods').ok == 'hash' and redis.call('HVALS', begin .. 'pods') or {}
    for _, pod in ipairs(pods) do
      longest = math.max(longest, tonumber(string.match(pod, ' (%d+)$')) or 0)
    end
    local old = redis.call('HMGET', OLD_POOL, 'seen', 'capacity')
    if #pods == 0 or server_ms() - (tonumber(old[1]) or 0) > longest then
      for _, key in ipairs({
        'pool', 'pods', 'leases', 'permits', 'clients', 'line', 'waiters', 'clients_waiting', 'pods_waiting', 'pods_held', 'refused',
      }) do
        redis.call('UNLINK', begin .. key)
      end
    else
      local share = math.floor(capacity / 2)
      if (tonumber(old[2]) or 0) > share then
        redis.call('HSETNX', OLD_POOL, 'capacity_before', old[2])
        redis.call('HSET', OLD_POOL, 'capacity', share)
      end
      local kept = redis.pcall('HLEN', OLD_PERMITS)
      reserved = math.max(type(kept) == 'number' and kept or 0, share)
    end
  end
  if reserved ~= before then
    redis.call('HSET', POOL, 'reserved', reserved)
  end
end

-- Look at some of the records, and take back what belongs to pods that are not here any more. One pass looks at permits,
-- then at waiters; pods that are removed meanwhile need another. Without such pods, a pass is begun once a lease, and goes
-- on with heartbeats only: it looks for records that no script has written.
local function sweep()
  local state = redis.call('HMGET', POOL, 'sweep', 'sweep_again')
  local speed, phase, cursor = string.match(state[1] or '', '^([ah])([pw]) (%d+)$')
  if state[1] and not speed then -- somebody's hand
    damaged = true
    return
  elseif state[2] and speed ~= 'h' then
    speed, phase, cursor = 'h', 'p', '0'
    redis.call('HDEL', POOL, 'sweep_again')
  elseif not speed then
    return
  end
  write_back()
  sweeping = true
  local key = phase == 'p' and PERMITS or WAITERS
  local found = redis.call('HSCAN', key, cursor, 'COUNT', LOOKS)
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
  local next_state = speed .. phase .. ' ' .. found[1]
  if found[1] == '0' then
    next_state = phase == 'p' and speed .. 'w 0'
    if not next_state and redis.call('HGET', POOL, 'sweep_again') then
      next_state = 'hp 0'
      redis.call('HDEL', POOL, 'sweep_again')
    end
  end
  if next_state then
    redis.call('HSET', POOL, 'sweep', next_state)
    more = more or string.sub(next_state, 1, 1) == 'h'
  else
    redis.call('HDEL', POOL, 'sweep')
  end
end

-- Once a lease, by the server's clock, look at the counts and begin to look at all records.
local function audit(lease_ms)
  local audited = tonumber(redis.call('HGET', POOL, 'audited'))
  if not (audited and audited <= seen and seen < audited + lease_ms) then
    redis.call('HSET', POOL, 'audited', format_int(seen))
    write_back()
    if
      not lengths_agree(MOST_RECORDS)
      or not counts_agree(PERMITS, held, parse, CLIENTS, PODS_HELD)
      or not counts_agree(WAITERS, waiting, parse_waiter, CLIENTS_WAITING, PODS_WAITING)
    then
      damaged = true
    end
    if not redis.call('HGET', POOL, 'sweep') then
      redis.call('HSET', POOL, 'sweep', 'ap 0')
    end
  end
end

-- Forget some of the places whose time is over, or all when somebody's hand was there.
local function forget_places()
  local kept, ending = redis.pcall('HLEN', PLACES), redis.pcall('ZCARD', PLACES_UNTIL)
  if type(kept) ~= 'number' or kept ~= ending then
    redis.call('UNLINK', PLACES, PLACES_UNTIL)
  elseif kept > 0 then
    local over = redis.call('ZRANGEBYSCORE', PLACES_UNTIL, '-inf', format_int(clock), 'LIMIT', 0, LOOKS)
    if #over > 0 then
      redis.call('HDEL', PLACES, unpack(over))
      redis.call('ZREM', PLACES_UNTIL, unpack(over))
    end
  end
end

trust = trust_store
