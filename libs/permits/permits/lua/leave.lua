#!lua flags=allow-oom
-- Lets a pod go: all that it holds becomes free, all that it waits for is forgotten. Call again while there is more to do.
--
-- KEYS: see records.lua.
-- ARGV: 1 incarnation.
-- Returns: {DONE, more to do}, also for an incarnation that is not there.

-- HERE STANDS pods.lua

if not epoch or damaged then
  return { DONE, 0 } -- there is nothing to be trusted; the next heartbeat settles it
end
remove_pod(ARGV[1])
measure_step()
sweep()
serve_line()
finish(ARGV[1])
return { DONE, more and 1 or 0 }
