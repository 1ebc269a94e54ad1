#!lua flags=no-writes
-- Names all that a pod holds and waits for, for a pod that has drifted. Linear in what the pool holds.
--
-- KEYS: see records.lua.
-- ARGV: 1 incarnation.
-- Returns: {permits held, id, …, id of each waiter, …}

local own, ids = ARGV[1], { 0 }
local permits = call('HGETALL', PERMITS)
for at = 1, #permits, 2 do
  local _, pod = parse(permits[at + 1])
  if pod == own then
    ids[#ids + 1] = permits[at]
  end
end
ids[1] = #ids - 1
local waiters = call('HGETALL', WAITERS)
for at = 1, #waiters, 2 do
  local _, pod = parse_waiter(waiters[at + 1])
  if pod == own then
    ids[#ids + 1] = waiters[at]
  end
end
return ids
