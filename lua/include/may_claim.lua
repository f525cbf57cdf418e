-- Nil where messages may be claimed from a queue, else the request's refusal. `scope_state`: the scope's.
-- Reads no more of the queue's settings than every claim needs.
-- @include queue
local function may_claim(q, scope_state)
  if scope_state ~= "active" then
    return { scope_state and string.upper(scope_state) or "NOT_FOUND", "scope" }
  end
  local f = redis.call("HMGET", q.root .. ":meta", "state", "access", "visibility_ms")
  q.visibility_ms = tonumber(f[3] or 30000)
  if not f[1] then
    return { "NOT_FOUND", "queue" }
  elseif f[2] == "readonly" or f[2] == "broadcast" then
    return { "READONLY", "queue" }
  elseif f[1] == "paused" or f[1] == "archived" then
    return { string.upper(f[1]), "queue" }
  end
  return nil
end
