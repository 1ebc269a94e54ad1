-- What the scripts of a pool share; it stands, after server.lua and records.lua, in front of each of them. What only some
-- need is in epochs.lua, pods.lua, sweep.lua and requests.lua. A script says where these stand. In operate.lua that is in the
-- branch that needs it: each function that is defined costs time in each call, and more the more locals of others it uses.
-- So nothing here is a local that Redis has already, such as redis.call.
--
-- Invariants after every script, with the numbers that records.lua gives the keys:
--   - 5 counts 4 by client, 10 counts 4 by pod; 8 and 9 count 7; 6 and 7 hold the same ids; no count of zero is kept;
--     `held` counts 4;
--   - nothing is granted while held >= capacity, nothing while learning, and nothing to a newcomer while somebody waits;
--   - nobody who may still wait stands in line while held < capacity, unless the pool is learning, or the script has said
--     that there is more to do;
--   - whatever is in 4 or 7 belongs to an incarnation that is in 2 and in 3, or will be swept;
--   - the fields tickets, high_water, clock and epoch of 1 never fall within an epoch;
--   - 13 and 14 name the same places. They order who waits, and count nobody: what is wrong in them is dropped.
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
--   - the numbers of the pool do not agree with each other or with the records: they were changed by hand.
-- What is then stored may be out of date, so all of it is dropped, and the pool learns: for the longest lease that anybody
-- knows of it grants nothing, while living pods declare what they hold and who waits with which ticket. A silence of
-- all pods for a lease leaves what is stored as it is, but for a lease nothing is granted: so long, pods that have been to
-- another server meanwhile may take to say so.
--
-- A script must not fail half way: there is no undoing. So all that may fail by rights of the user is asked with pcall.

local LAYOUT = 2
local LOOKS = 125 -- waiters, and records, that one script looks at

-- What became of a call.
local DONE, GONE, STALE, FORGOTTEN, NEWER, SHUT_OUT, NAMELESS = 1, 0, -1, -2, -3, -4, -5
local UNSURE = 'unsure' -- never an answer
-- What became of an acquire or a leave.
local GRANTED, WAITING, FULL, CLIENT_LIMIT, LINE_FULL, LEFT, NOWHERE, LEARNING, REPLACED = 1, 2, 3, 4, 5, 6, 7, 8, 9
-- What is handed to a waiter in place of a ticket.
local OVER_LIMIT, WAS_REPLACED = 0, -1

local function size(command, key)
  local number = redis.pcall(command, key)
  if type(number) ~= 'number' then -- the key holds something else
    damaged = true
    return 0
  end
  return number
end

local capacity, tickets, high_water, epoch, clock, seen, max_clock_step, learning_until
local held, waiting
local reserved = 0 -- places that pods of layout 1 have, or may take
local sweeping -- whether what removed pods held or waited for is not all swept
local tickets_before, high_water_before, held_before
local function read_pool()
  local numbers =
    redis.pcall('HMGET', POOL, 'capacity', 'tickets', 'high_water', 'epoch', 'clock', 'seen', 'step', 'learning_until', 'held', 'damaged', 'reserved',
      'sweep', 'sweep_again')
  if numbers.err then
    damaged, numbers = true, {}
  end
  capacity, tickets, high_water = tonumber(numbers[1]) or 0, tonumber(numbers[2]) or 0, tonumber(numbers[3]) or 0
  epoch, clock, seen = numbers[4], tonumber(numbers[5]) or 0, tonumber(numbers[6]) or 0
  max_clock_step, learning_until = tonumber(numbers[7]) or 0, tonumber(numbers[8]) or 0
  held_before = tonumber(numbers[9]) or 0
  tickets_before, high_water_before = tickets, high_water
  held, waiting = size('HLEN', PERMITS), size('ZCARD', LINE)
  reserved = tonumber(numbers[11]) or 0
  sweeping = numbers[13] or string.sub(numbers[12] or '', 1, 1) == 'h'
  damaged = damaged or held ~= held_before or numbers[10] == '1'
end
read_pool()

local handed = {} -- incarnation → the ids and tickets that this script handed to its waiters
local looks = LOOKS -- at waiters, left to this script
local more = false -- whether there is more to do
local new_sum -- when a number has changed that the sum is made of: a function of epochs.lua that returns it

local cached_now
local function pool_now()
  if not cached_now then
    cached_now = clock + math.max(0, math.min(server_ms() - seen, max_clock_step))
  end
  return cached_now
end

local function learning()
  return damaged or (learning_until > 0 and pool_now() < learning_until)
end

local function learning_left()
  return learning_until > 0 and math.max(0, learning_until - pool_now()) or 0
end

-- Whether an incarnation that holds or waits is in. Only while the records are swept can it be out.
local pods_here = {} -- incarnation → whether it is in, as far as this script has asked
local function is_here(pod)
  if sweeping and pods_here[pod] == nil then
    pods_here[pod] = redis.call('HEXISTS', PODS, pod) == 1
  end
  return pods_here[pod] ~= false
end

local trust -- `trust_store` of epochs.lua, once that is loaded

local function generation_of(pod)
  return tonumber(string.match(redis.call('HGET', PODS, pod) or '', '^(%d+) %d+ %d+ %d+$'))
end

-- Nothing, when this call may be served; otherwise what to answer instead:
-- GONE for an incarnation that was reaped or replaced; FORGOTTEN for one that does not know this epoch, which may declare
-- what it holds; STALE for a call that was delayed on a connection which its pod gave up since; NAMELESS by a server that
-- does not say who it is; UNSURE when that takes epochs.lua, and it is not loaded. The first call on a new connection asks
-- whether the server is still the same, because a restart breaks all connections.
-- One that is known here and does not know the epoch has not heard that it was let in: by a declaration whose answer was
-- lost, or by one that was delayed and says what was true before. So it must declare again.
local function refusal(pod, generation, lease_ms, pods_epoch, witness)
  local known = generation_of(pod)
  if not epoch or not known or generation > known or witness > tickets or pods_epoch ~= epoch or damaged then
    if not trust then
      return UNSURE
    elseif not trust(lease_ms, pods_epoch, witness) then
      return NAMELESS
    end
    known = generation_of(pod)
  end
  if not known then
    return pods_epoch == epoch and GONE or FORGOTTEN
  elseif generation < known then
    return STALE
  elseif pods_epoch ~= epoch then
    return FORGOTTEN
  elseif generation > known then
    local record = string.gsub(redis.call('HGET', PODS, pod), '^%d+', generation)
    redis.call('HSET', PODS, pod, record)
  end
  pods_here[pod] = true
end

-- A request with a wait id keeps its place: the ticket with which it waits is remembered, under a name that is the last part
-- of its id, for a lease longer than it may wait. It counts as that of whoever asked last by that name. As long as this id
-- stands in line, so does the place; when it does not, another id may come back to the same ticket. A grant ends it. Ids
-- without one are shorter, and cost nothing here.
local PLAIN_ID, PLACE_NAME = 50, 32

local function drop_place(name)
  redis.pcall('HDEL', PLACES, name)
  redis.pcall('ZREM', PLACES_UNTIL, name)
end

-- In what follows, tickets are padded.

local function grant(id, ticket, pod, client)
  keep(PERMITS, id, ticket .. ' ' .. pod .. ' ' .. client)
  count(CLIENTS, client, 1)
  count(PODS_HELD, pod, 1)
  held = held + 1
  if held > high_water then
    high_water = held
  end
end

local function forget_waiter(id, pod, client)
  keep(WAITERS, id, false)
  count(CLIENTS_WAITING, client, -1)
  count(PODS_WAITING, pod, -1)
  waiting = waiting - 1
end

local function leave_line(id, pod, client)
  redis.call('ZREM', LINE, id)
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
    hand_over(id, OVER_LIMIT, pod)
  else
    if #id > PLAIN_ID then
      drop_place(string.sub(id, -PLACE_NAME))
    end
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
    local heads, ids = redis.call('ZPOPMIN', LINE, most), {}
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
        waiting = waiting - 1 -- the record was deleted by hand; to stop here would lose all that this script has done
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

-- Write back what changed, tell the other pods what was handed to them, and return what was handed to this one.
-- A notice says "incarnation epoch id ticket id ticket …". It may be lost: the next heartbeat of that pod makes good for
-- it. It may be late: a pod that has declared its waiters since would believe in permits that the store has forgotten, so
-- notices of another epoch do not count.
local function finish(own)
  write_back()
  local words = {}
  if tickets ~= tickets_before then
    words = { 'tickets', format_int(tickets) }
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
  if new_sum then
    words[#words + 1] = 'sum'
    words[#words + 1] = new_sum()
  end
  if #words > 0 then
    redis.call('HSET', POOL, unpack(words))
  end
  for pod, list in pairs(handed) do
    if pod ~= own then
      local channel = channel_of(string.match(pod, '^(.*)%.%d+$'))
      redis.pcall('PUBLISH', channel, pod .. ' ' .. epoch .. ' ' .. table.concat(list, ' '))
    end
  end
  return handed[own] or {}
end
