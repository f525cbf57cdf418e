-- Nil where messages may be claimed from a queue, else the request's refusal. `scope_state`: the scope's.
-- @include settings
local function may_claim(q, scope_state)
  if not scope_state then
    return { "NOT_FOUND", "scope" }
  elseif scope_state ~= "active" then
    return { string.upper(scope_state), "scope" }
  elseif not settings(q).state then
    return { "NOT_FOUND", "queue" }
  elseif q.access == "readonly" then
    return { "READONLY", "queue" }
  elseif q.state == "paused" or q.state == "archived" then
    return { string.upper(q.state), "queue" }
  end
  return nil
end
