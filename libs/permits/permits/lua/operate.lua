#!lua flags=allow-oom
-- Acquires, releases and leaves the line: all that one pod asked for in one turn of its event loop, in that order.
--
-- KEYS: see records.lua.
-- ARGV: 1 incarnation, 2 connection generation, 3 lease (ms), 4 the epoch that it knows, 5 the highest ticket of it,
--       6 permits per client (0: no limit of its own), 7 the longest line;
--       then the operations:
--         "acquire" id client ms  take a permit, or stand in line for it, for so long at most: its pod takes it from the
--                                 line by then, and one step later nothing is handed to it any more
--         "try" id client         take a permit, now or never
--         "return" id client ms ticket  as "acquire", for the place that the id names; the ticket is 0, or the one with which
--                                 this id is known to wait
--         "release" id            give a permit back, or leave the line, without an answer
--         "leave" id              leave the line, unless the permit was handed over already
-- Returns: {GONE}, {STALE}, {FORGOTTEN} or {NAMELESS}: refused, nothing was done; or
--          {DONE, {id, ticket, …} handed to this pod's own waiters (pool.lua: OVER_LIMIT, WAS_REPLACED), more to do,
--           code, ticket, place, code, ticket, place, …}
--          with three for each but "release". The place is the one in line; 0 when there is none. With
--          LEARNING, the ticket is for how long yet (ms).
-- Each operation may be repeated: an id that holds or waits is told the same again, an id unknown to a release is ignored.
-- An id belongs to the incarnation that asked with it; for any other one it is NOWHERE, and a release of it is ignored.
-- A place is for one: an earlier waiter in it leaves the line, and is told so; REPLACED when it asks once more.

local own, generation, lease_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local per_client, longest_line = tonumber(ARGV[6]), tonumber(ARGV[7])

local answers = { DONE, false, 0 }
local blocked = false -- whether a request must wait until the dead are removed
local acquire, leave -- functions of the branch that needs them

local function waiter_of(id)
  return waiting > 0 and record_of(WAITERS, id)
end

local function release(id)
  local record = record_of(PERMITS, id)
  if record then
    local _, pod, client = parse(record)
    if pod == own then
      take_back(id, pod, client)
    end
    return
  end
  record = waiter_of(id)
  if record then
    local _, pod, client = parse_waiter(record)
    if pod == own then
      leave_line(id, pod, client)
    end
  end
end

local WORDS = { acquire = 4, try = 3, release = 2, leave = 2, ['return'] = 5 } -- of each operation
local first, last = 8, #ARGV
local ids, requests = {}, false -- of all operations; whether any is more than a release
local at = first
while at <= last do
  ids[#ids + 1] = ARGV[at + 1]
  requests = requests or ARGV[at] ~= 'release'
  at = at + WORDS[ARGV[at]]
end

local refused = refusal(own, generation, lease_ms, ARGV[4], tonumber(ARGV[5]))
at = first
repeat
  if refused == UNSURE or blocked then
    -- HERE STANDS epochs.lua
    -- HERE STANDS pods.lua
    -- HERE STANDS sweep.lua
    if blocked then
      blocked = false
      if may_reap() then
        reap(own) -- this pod was let in, so what is done here must stay its own until a heartbeat says otherwise
        sweep()
      end
    else
      refused = refusal(own, generation, lease_ms, ARGV[4], tonumber(ARGV[5]))
    end
  end
  if refused then
    finish(own)
    return { refused }
  end
  if at == first then
    fetch(PERMITS, ids)
    if waiting > 0 then
      local others = {}
      for _, id in ipairs(ids) do
        if not records[PERMITS][id] then
          others[#others + 1] = id
        end
      end
      fetch(WAITERS, others)
    end
  end
  if requests and not acquire then
    -- HERE STANDS requests.lua

    local function answer(code, ticket, place)
      local last = #answers
      answers[last + 1] = code
      answers[last + 2] = ticket
      answers[last + 3] = place
      return true
    end

    local function place_of(id)
      return (redis.call('ZRANK', LINE, id) or 0) + 1
    end

    local function asked_by(client)
      return counted(CLIENTS, client) + (waiting > 0 and counted(CLIENTS_WAITING, client) or 0)
    end

    local function obstacle(client)
      if per_client > 0 and asked_by(client) >= per_client then
        return CLIENT_LIMIT
      elseif free() <= 0 or waiting > 0 or learning() then
        return FULL
      end
    end

    local function belongs(record)
      local _, pod = parse(record)
      return pod == own
    end

    -- Whether the lease of another pod has ended, or what a removed one held is not all swept.
    local function dead_pods()
      for _, pod in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', format_int(pool_now()), 'LIMIT', 0, 2)) do
        if pod ~= own then
          return true
        end
      end
      return sweeping
    end

    -- The ticket of the place that an id names, and since when it is there; whoever else waits with it is taken out of the line.
    local function take_place(id)
      local ticket, since, _, holder = read_place(string.sub(id, -PLACE_NAME))
      local record = ticket and waiter_of(holder)
      if record then
        local _, pod, client = parse_waiter(record)
        if pod then
          leave_line(holder, pod, client)
          hand_over(holder, WAS_REPLACED, pod)
        end
      end
      return ticket, since
    end

    -- As many places are remembered as may wait, beside those that do.
    local function bound_places()
      local kept = redis.pcall('ZCARD', PLACES_UNTIL)
      if type(kept) == 'number' and kept > waiting + longest_line then
        local first = redis.call('ZPOPMIN', PLACES_UNTIL)
        redis.pcall('HDEL', PLACES, first[1])
      end
    end

    local looked = false -- for dead pods; once is enough
    function acquire(id, client, wait_ms, known_ticket)
      local record = record_of(PERMITS, id)
      if record then
        return belongs(record) and answer(GRANTED, ticket_of(record), 0) or answer(NOWHERE, 0, 0)
      end
      record = waiter_of(id)
      if record then
        return belongs(record) and answer(WAITING, ticket_of(record), place_of(id)) or answer(NOWHERE, 0, 0)
      end
      local old, since -- the ticket of a place
      if known_ticket then
        if known_ticket > 0 then -- it stood in line, and does not any more
          local _, _, _, holder = read_place(string.sub(id, -PLACE_NAME))
          return answer(holder and holder ~= id and REPLACED or NOWHERE, 0, 0)
        end
        old, since = take_place(id)
      end
      local why = obstacle(client)
      if why and not looked then
        looked = true
        if dead_pods() then
          blocked = true
          return
        end
      end
      if not why then
        local ticket = old and tonumber(old) or next_ticket()
        if #id > PLAIN_ID then
          drop_place(string.sub(id, -PLACE_NAME))
        end
        grant(id, pad_ticket(ticket), own, client)
        answer(GRANTED, ticket, 0)
      elseif why == CLIENT_LIMIT then
        answer(CLIENT_LIMIT, 0, 0)
      elseif not wait_ms then
        answer(learning() and LEARNING or FULL, learning_left(), waiting + 1)
      elseif waiting >= (old and 2 or 1) * longest_line then
        answer(LINE_FULL, 0, waiting + 1)
      else
        local ticket = old and tonumber(old) or next_ticket()
        local limit, until_ms = learning() and per_client or 0, pool_now() + wait_ms + max_clock_step
        add_waiter(id, pad_ticket(ticket), own, since or pool_now(), until_ms, limit, client, lease_ms)
        if known_ticket then
          bound_places()
        end
        answer(WAITING, ticket, old and place_of(id) or waiting)
      end
    end

    function leave(id)
      local record = record_of(PERMITS, id)
      if record then
        return belongs(record) and answer(GRANTED, ticket_of(record), 0) or answer(NOWHERE, 0, 0)
      end
      record = waiter_of(id)
      if not record or not belongs(record) then
        return answer(NOWHERE, 0, 0)
      end
      local ticket, pod, client = parse_waiter(record)
      if not ticket then
        return answer(NOWHERE, 0, 0)
      end
      if learning() then
        answer(LEARNING, learning_left(), place_of(id))
      else
        answer(LEFT, tonumber(ticket), place_of(id))
      end
      leave_line(id, pod, client)
    end
  end
  while at <= last and not blocked do
    local what, id = ARGV[at], ARGV[at + 1]
    if what == 'release' then
      release(id)
    else
      serve_line() -- those who came first go first: to what was released, and to all that is free when learning has just ended
      if what == 'acquire' then
        acquire(id, ARGV[at + 2], tonumber(ARGV[at + 3]))
      elseif what == 'try' then
        acquire(id, ARGV[at + 2], nil)
      elseif what == 'return' then
        acquire(id, ARGV[at + 2], tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]))
      else
        leave(id)
      end
    end
    if not blocked then
      at = at + WORDS[what]
    end
  end
until not blocked
serve_line()

answers[2] = finish(own)
answers[3] = more and 1 or 0
return answers
