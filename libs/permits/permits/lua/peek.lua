#!lua flags=no-writes
-- Says what an acquire would meet now.
--
-- KEYS: see records.lua.
-- ARGV: 1 client, 2 permits per client (0: no limit of its own), 3 the longest line.
-- Returns: {code, place, learning for so long (ms)}: GRANTED, WAITING, CLIENT_LIMIT, LINE_FULL or LEARNING. Changes nothing
--          and reaps nobody.

local client, per_client, longest_line = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local asked = (tonumber(call('HGET', CLIENTS, client)) or 0) + (tonumber(call('HGET', CLIENTS_WAITING, client)) or 0)
if per_client > 0 and asked >= per_client then
  return { CLIENT_LIMIT, 0, 0 }
elseif free() > 0 and waiting == 0 and not learning() then
  return { GRANTED, 0, 0 }
elseif waiting >= longest_line then
  return { LINE_FULL, waiting + 1, 0 }
elseif learning() then
  return { LEARNING, waiting + 1, learning_left() }
end
return { WAITING, waiting + 1, 0 }
