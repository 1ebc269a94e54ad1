#!lua flags=no-writes
-- Says what an acquire would meet now.
--
-- KEYS: see records.lua.
-- ARGV: 1 client, 2 permits per client (0: no limit of its own), 3 the longest line, 4 the name of a place ("" for none).
-- Returns: {code, place, learning for so long (ms), the place is there for so long (ms), and is kept for so long yet (ms)}:
--          GRANTED, WAITING, CLIENT_LIMIT, LINE_FULL or LEARNING. The last two are 0 when there is no place by that name.
--          Changes nothing and reaps nobody.

-- HERE STANDS requests.lua

local client, per_client, longest_line = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local asked = (tonumber(redis.call('HGET', CLIENTS, client)) or 0) + (tonumber(redis.call('HGET', CLIENTS_WAITING, client)) or 0)
local place, since_ms, kept_ms = waiting + 1, 0, 0
local ticket, since, until_ms, id
if ARGV[4] ~= '' then
  ticket, since, until_ms, id = read_place(ARGV[4])
end
if ticket then
  place = redis.call('ZCOUNT', LINE, '-inf', '(' .. format_int(tonumber(ticket))) + 1
  since_ms, kept_ms = pool_now() - since, until_ms - pool_now()
  longest_line = 2 * longest_line
  asked = asked - redis.call('HEXISTS', WAITERS, id)
end

if per_client > 0 and asked >= per_client then
  return { CLIENT_LIMIT, 0, 0, since_ms, kept_ms }
elseif free() > 0 and waiting == 0 and not learning() then
  return { GRANTED, 0, 0, since_ms, kept_ms }
elseif waiting >= longest_line then
  return { LINE_FULL, place, 0, since_ms, kept_ms }
elseif learning() then
  return { LEARNING, place, learning_left(), since_ms, kept_ms }
end
return { WAITING, place, 0, since_ms, kept_ms }
