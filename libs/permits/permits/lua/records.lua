-- The keys of a pool, and how scripts read and write them; it stands, after server.lua, in front of pool.lua.
--
-- KEYS, the same for every script (permits/redis/keys.py names them):
--   1 pool             hash    layout, epoch, run, clock, seen, step, learning_since, learning_until, capacity,
--                              capacity_version, capacity_seed, jumps, sum (of those before); tickets, high_water, held,
--                              reserved, reaped, sweep, sweep_again, audited
--   2 pods             hash    incarnation → "generation lease capacity part" (lease in ms, capacity by its settings, the
--                              last part of its declaration, 0 when it is whole); who is not in it is refused
--   3 leases           zset    incarnation by the end of its lease (pool time)
--   4 permits          hash    id → "ticket incarnation client" of each permit held
--   5 clients          hash    client → permits held
--   6 line             zset    id by ticket of each waiter
--   7 waiters          hash    id → "ticket incarnation since until limit client" of each waiter (pool time; the limit is
--                              0 for a waiter whose client was looked at when it came)
--   8 clients_waiting  hash    client → waiters
--   9 pods_waiting     hash    incarnation → waiters
--  10 pods_held        hash    incarnation → permits held
--  11 refused          set     pods that may not renew
--  12 lease_lengths    hash    lease (ms) → pods that have one of this length
--  13 places           hash    name of a place → "ticket until since id": who asked last for it, and until when it is kept
--  14 places_until     zset    name of a place by the end of its time (pool time)
-- and, for enter.lua, renew.lua and leave.lua, two of the pool of layout 1, whose pods may still be there during an upgrade (pods.lua,
-- share_with_old_pods):
--  15 pool             hash    capacity, seen; capacity_before, which these scripts add
--  16 permits          hash    of each permit held

local POOL, PODS, LEASES = KEYS[1], KEYS[2], KEYS[3]
local PERMITS, CLIENTS = KEYS[4], KEYS[5]
local LINE, WAITERS, CLIENTS_WAITING, PODS_WAITING = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local PODS_HELD, REFUSED, LEASE_LENGTHS = KEYS[10], KEYS[11], KEYS[12]
local PLACES, PLACES_UNTIL = KEYS[13], KEYS[14]
local OLD_POOL, OLD_PERMITS = KEYS[15], KEYS[16]

local function channel_of(pod)
  return string.sub(POOL, 1, -#'pool' - 1) .. 'pod:' .. pod
end

-- Set when something stands in the store that no script has written: the next heartbeat begins a new epoch.
local damaged = false

-- Whole numbers larger than 2^31 must be written so, or Lua writes them in powers of ten.
local function format_int(number)
  return string.format('%.0f', number)
end

-- A ticket as records, notices and replies have it: so wide that no record is under 65 bytes. A small hash of short values
-- is kept as a list and searched from its start, which at 500 permits would be most of the work of a script.
local TICKET_WIDTH = 32
local function pad_ticket(ticket)
  return string.format('%032.0f', ticket)
end

-- The parts of a record are found by hand, for patterns take five times as long. Pods have no spaces, clients may. The
-- ticket stays as wide as it is. Nothing for a record that no script has written.
local function parse(record)
  local pod = TICKET_WIDTH + 2
  local space = string.find(record, ' ', pod, true)
  if not space or string.byte(record, pod - 1) ~= 32 then
    damaged = true
    return
  end
  return string.sub(record, 1, TICKET_WIDTH), string.sub(record, pod, space - 1), string.sub(record, space + 1)
end

local function parse_waiter(record)
  local ticket, pod, rest = parse(record)
  local since, until_ms, limit, client = string.match(rest or '', '^(%d+) (%d+) (%d+) (.*)$')
  if not since or not tonumber(ticket) then
    damaged = true
    return
  end
  return ticket, pod, client, tonumber(since), tonumber(until_ms), tonumber(limit)
end

-- Records and counts change with nearly every operation, and a call may bring hundreds. So they are read here once, changed
-- here, and written in one go by `write_back`, before this script ends or looks at a whole hash.
local MOST_WORDS = 4000 -- of one command; Lua can hand over about twice as many
local records = { [PERMITS] = {}, [WAITERS] = {} } -- by key: id → record, or false when there is none
local changed = { [PERMITS] = {}, [WAITERS] = {} } -- by key: id → true
local changes = { [CLIENTS] = {}, [CLIENTS_WAITING] = {}, [PODS_HELD] = {}, [PODS_WAITING] = {} } -- by key: field → by how much

local function call_in_parts(command, key, words)
  for at = 1, #words, MOST_WORDS do
    redis.call(command, key, unpack(words, at, math.min(at + MOST_WORDS - 1, #words)))
  end
end

-- Read the records of many ids at once, rather than each as it is needed.
local function fetch(key, ids)
  for at = 1, #ids, MOST_WORDS do
    local found = redis.call('HMGET', key, unpack(ids, at, math.min(at + MOST_WORDS - 1, #ids)))
    for index, record in ipairs(found) do
      local id = ids[at + index - 1]
      if not changed[key][id] then
        records[key][id] = record
      end
    end
  end
end

local function record_of(key, id)
  local record = records[key][id]
  if record == nil then
    record = redis.call('HGET', key, id)
    records[key][id] = record
  end
  return record
end

local function keep(key, id, record)
  records[key][id] = record
  changed[key][id] = true
end

local function count(key, field, by)
  local fields = changes[key]
  fields[field] = (fields[field] or 0) + by
end

local function counted(key, field)
  return (tonumber(redis.call('HGET', key, field)) or 0) + (changes[key][field] or 0)
end

local FEW_COUNTS = 3 -- more of a hash are changed by three commands for all of them, which is faster than one by one
local function write_back()
  for key, ids in pairs(changed) do
    local new, gone = {}, {}
    for id in pairs(ids) do
      local record = records[key][id]
      if record then
        new[#new + 1] = id
        new[#new + 1] = record
      else
        gone[#gone + 1] = id
      end
    end
    call_in_parts('HSET', key, new)
    call_in_parts('HDEL', key, gone)
    changed[key] = {}
  end
  for key, fields in pairs(changes) do
    local many = 0
    for _ in pairs(fields) do
      many = many + 1
    end
    if many > FEW_COUNTS then
      local names, new, gone = {}, {}, {}
      for field, by in pairs(fields) do
        if by ~= 0 then
          names[#names + 1] = field
        end
      end
      for at = 1, #names, MOST_WORDS do
        local last = math.min(at + MOST_WORDS - 1, #names)
        local found = redis.pcall('HMGET', key, unpack(names, at, last))
        for index = at, last do
          local field, before = names[index], found[index - at + 1]
          local number = (tonumber(before or 0) or 0.5) + fields[field]
          if found.err or number % 1 ~= 0 then -- what stood there was no number
            damaged = true
          elseif number > 0 then
            new[#new + 1] = field
            new[#new + 1] = format_int(number)
          else
            damaged = damaged or number < 0
            gone[#gone + 1] = field
          end
        end
      end
      call_in_parts('HSET', key, new)
      call_in_parts('HDEL', key, gone)
    else
      for field, by in pairs(fields) do
        if by ~= 0 then
          local number = redis.pcall('HINCRBY', key, field, by)
          if type(number) ~= 'number' then -- what stood there was no number
            damaged = true
          elseif number <= 0 then
            damaged = damaged or number < 0
            redis.call('HDEL', key, field)
          end
        end
      end
    end
    changes[key] = {}
  end
end
