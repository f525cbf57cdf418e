-- Nil where new messages may enter a queue, else the item's refusal. `state_of_scope`: the scope's; `sent`: a rule or a
-- redrive sends them, for whom a queue of the access `relay` is open.
-- Reads no more of the queue's settings than every publish needs.
-- @include queue
local function may_enter(q, state_of_scope, sent)
  if state_of_scope ~= "active" then
    return { state_of_scope and string.upper(state_of_scope) or "NOT_FOUND", "scope" }
  end
  local f = redis.call("HMGET", q.root .. ":meta", "state", "access", "max_depth", "ordering")
  q.max_depth, q.ordering = tonumber(f[3] or 0), f[4] or "fifo"
  if f[1] == "active" and (not f[2] or (sent and f[2] == "relay")) then
    return nil
  elseif not f[1] then
    return { "NOT_FOUND", "queue" }
  end
  return { f[2] and "READONLY" or string.upper(f[1]), "queue" }
end
