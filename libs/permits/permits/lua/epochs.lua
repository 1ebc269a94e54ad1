-- Epochs and pool time: whether what is stored can be trusted, and what happens when it cannot. See pool.lua.

local MOST_PODS = 50 -- whose leases are compared one by one; and that one script removes
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

-- The numbers that change seldom are sealed with a sum, so that a heartbeat sees when one was changed by hand.
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

-- The highest of some numbers, leaving out those after the first that can only have been written by hand.
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
-- changed by hand.
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

trust = trust_store
