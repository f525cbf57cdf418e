-- Nil where new messages may enter a queue, else the item's refusal. `scope_state`: the scope's.
-- @include settings
local function may_enter(q, scope_state)
  if not scope_state then
    return { "NOT_FOUND", "scope" }
  elseif scope_state ~= "active" then
    return { string.upper(scope_state), "scope" }
  elseif not settings(q).state then
    return { "NOT_FOUND", "queue" }
  elseif q.access ~= "" then
    return { "READONLY", "queue" }
  elseif q.state ~= "active" then
    return { string.upper(q.state), "queue" }
  end
  return nil
end
