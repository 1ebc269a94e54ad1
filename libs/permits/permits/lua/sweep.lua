-- The look at records and counts, a few at a time. It stands behind epochs.lua and pods.lua.

local MOST_COUNTS = 2000 -- that one script adds up
local MOST_RECORDS = 200 -- of a kind, that one script counts by client and pod

local function add_up(key)
  local total = 0
  for _, number in ipairs(redis.call('HVALS', key)) do
    total = total + (tonumber(number) or MOST)
  end
  return total
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

-- Look at some of the records, and take back what belongs to pods that are not here any more. One pass looks at permits,
-- then at waiters; pods that are removed meanwhile need another. Without such pods, a pass is begun once a lease, and goes
-- on with heartbeats only: it looks for records that no script has written.
local function sweep()
  local state = redis.call('HMGET', POOL, 'sweep', 'sweep_again')
  local speed, phase, cursor = string.match(state[1] or '', '^([ah])([pw]) (%d+)$')
  if state[1] and not speed then -- written by hand
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

-- Forget some of the places whose time is over, or all when their numbers do not match.
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
