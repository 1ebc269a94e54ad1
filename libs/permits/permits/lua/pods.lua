-- Pods: their leases, the capacity by their settings, and how they are removed. It stands behind epochs.lua.

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

-- Whether other pods may be removed by what is stored. Otherwise the next heartbeat begins a new epoch.
local function may_reap()
  write_back()
  if not trusted and not (is_sealed() and sound()) then
    damaged = true
  end
  return not damaged
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
