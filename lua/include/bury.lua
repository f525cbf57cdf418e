-- Sends a message to the scope's dead letter, where neither its TTL nor its deadline ends it.
-- @include changes
local function bury(c, reason)
  local record = c.record
  record[R_ORIGIN] = cmsgpack.pack({ record[R_QUEUE], reason, record[R_ATTEMPTS], now })
  record[R_EXPIRES] = 0
  enter(c, queue("_dead_letter"), now)
end
