-- Nil where new messages may enter a queue, else the item's refusal. `state_of_scope`: the scope's; `also`: a kind of
-- queue, besides ordinary ones, that the caller puts messages into.
-- Reads no more of the queue's settings than every publish needs.
-- @include queue
local function may_enter(q, state_of_scope, also)
  if state_of_scope ~= "active" then
    return { state_of_scope and string.upper(state_of_scope) or "NOT_FOUND", "scope" }
  end
  local f = redis.call("HMGET", q.root .. ":meta", "state", "access", "max_depth", "ordering")
  q.access, q.max_depth, q.ordering = f[2], tonumber(f[3] or 0), f[4] or "fifo"
  if f[1] == "active" and (not f[2] or f[2] == also) then
    return nil
  elseif not f[1] then
    return { "NOT_FOUND", "queue" }
  end
  return { f[2] and f[2] ~= also and "READONLY" or string.upper(f[1]), "queue" }
end
