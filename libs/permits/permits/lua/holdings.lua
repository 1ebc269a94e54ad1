#!lua flags=no-writes
-- Names some of what a pod holds or waits for, for a pod that has drifted. Call again until the cursor is 0.
--
-- KEYS: see records.lua.
-- ARGV: 1 incarnation, 2 "permits" or "waiters", 3 the cursor; 0 to begin with, 4 the epoch that the pod knows.
-- Returns: {cursor, id, …}; or {FORGOTTEN} in another epoch, in which nothing says what the pod holds before it declares.
-- What was there from the first call to the last is named, once or more often.

if damaged or epoch ~= ARGV[4] then
  return { FORGOTTEN }
end

local own, key = ARGV[1], ARGV[2] == 'permits' and PERMITS or WAITERS
local found = redis.call('HSCAN', key, ARGV[3], 'COUNT', LOOKS)
local ids, words = { found[1] }, found[2]
for at = 1, #words, 2 do
  local _, pod = parse(words[at + 1])
  if pod == own then
    ids[#ids + 1] = words[at]
  end
end
return ids
