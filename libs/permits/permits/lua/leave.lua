#!lua flags=allow-oom
-- Lets a pod go: all that it holds is free, all that it waits for is forgotten, at once.
--
-- KEYS: see records.lua.
-- ARGV: 1 incarnation.
-- Returns: {DONE}, also for an incarnation that is not there.

remove_pods({ [ARGV[1]] = true })
finish(ARGV[1])
return { DONE }
