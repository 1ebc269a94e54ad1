-- Tickets, places and waiters: what scripts need that let requests in, or look for a place.

local function next_ticket()
  tickets = tickets + 1
  return tickets
end

local function ticket_of(record)
  return tonumber(string.sub(record, 1, TICKET_WIDTH)) or 0
end

-- Its ticket (padded), since when it is there, until when it is kept, and whose it is; nothing when there is none.
local function read_place(name)
  local record = redis.pcall('HGET', PLACES, name)
  local ticket, until_ms, since, id = string.match(type(record) == 'string' and record or '', '^(%d+) (%d+) (%d+) (%S+)$')
  if ticket and tonumber(until_ms) > pool_now() and tonumber(ticket) <= tickets and redis.call('HEXISTS', PERMITS, id) == 0 then
    return ticket, tonumber(since), tonumber(until_ms), id
  end
end

local function keep_place(id, ticket, since, until_ms)
  local name, ends = string.sub(id, -PLACE_NAME), format_int(until_ms)
  redis.pcall('HSET', PLACES, name, ticket .. ' ' .. ends .. ' ' .. format_int(since) .. ' ' .. id)
  redis.pcall('ZADD', PLACES_UNTIL, ends, name)
end

-- A waiter whose client could not be looked at when it came brings the limit along; 0: it was looked at.
local function add_waiter(id, ticket, pod, since, until_ms, limit, client, lease_ms)
  redis.call('ZADD', LINE, ticket, id)
  keep(
    WAITERS,
    id,
    ticket .. ' ' .. pod .. ' ' .. format_int(since) .. ' ' .. format_int(until_ms) .. ' ' .. limit .. ' ' .. client
  )
  count(CLIENTS_WAITING, client, 1)
  count(PODS_WAITING, pod, 1)
  waiting = waiting + 1
  if #id > PLAIN_ID then
    keep_place(id, ticket, since, until_ms + lease_ms)
  end
end
