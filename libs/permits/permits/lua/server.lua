-- What a pool asks its server about itself. Tests put another file in this place.

-- The time, in milliseconds since 1970. The only clock that any expiry is counted by; see pool.lua for how it is trusted.
local function server_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- What a server calls itself, from one start to the next, and what it calls the history of its data: that has another name
-- once the server has been a replica, or was promoted. nil for a server that says neither.
local function server_run()
  local facts = redis.call('INFO', 'server', 'replication')
  local run, history = string.match(facts, 'run_id:(%w+)'), string.match(facts, 'master_replid:(%w+)')
  return run and run .. '/' .. (history or '')
end
