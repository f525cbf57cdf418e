-- Nil where new messages may enter a queue, else the item's refusal. `state_of_scope`: the scope's; `also`: kinds of
-- queue, besides ordinary ones, that the caller puts messages into.
-- Reads no more of the queue's settings than every publish needs.
-- @include queue
local function may_enter(q, state_of_scope, also)
  if state_of_scope ~= "active" then
    return { state_of_scope and string.upper(state_of_scope) or "NOT_FOUND", "scope" }
  end
  local f = redis.call("HMGET", q.root .. ":meta", "state", "access", "max_depth", "ordering")
  q.access, q.max_depth, q.ordering = f[2], tonumber(f[3] or 0), f[4] or "fifo"
  local opens = not f[2] or also:find(f[2], 1, true)
  if f[1] == "active" and opens then
    return nil
  elseif not f[1] then
    return { "NOT_FOUND", "queue" }
  end
  return { not opens and "READONLY" or string.upper(f[1]), "queue" }
end
