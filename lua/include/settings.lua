-- Loads a queue's settings into it, once; `state` stays nil where there is no such queue.
-- @include queue
local function settings(q)
  if q.loaded then
    return q
  end
  local f = redis.call(
    "HMGET",
    q.root .. ":meta",
    "state",
    "ordering",
    "max_depth",
    "overflow",
    "max_retries",
    "visibility_ms",
    "backoff",
    "require_token",
    "aging",
    "access"
  )
  q.loaded = true
  q.state = f[1] or nil
  q.ordering = f[2] or "fifo"
  q.max_depth = tonumber(f[3] or 0)
  q.overflow = f[4] or "reject"
  q.max_retries = tonumber(f[5] or 5)
  q.visibility_ms = tonumber(f[6] or 30000)
  q.backoff = f[7] or "exponential 1000 2 300000 full"
  q.require_token = f[8] == "1"
  q.aging = f[9] or ""
  q.access = f[10] or ""
  return q
end
