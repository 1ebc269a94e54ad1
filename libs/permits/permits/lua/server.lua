-- What a pool asks its server about itself. Tests put another file in this place.

-- The time, in milliseconds since 1970. The only clock that any expiry is counted by; see pool.lua for how it is trusted.
local function server_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- What a server calls itself from one start to the next.
local function server_run()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
end
