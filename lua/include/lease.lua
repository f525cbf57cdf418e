-- Leases the head of a queue to a holder; its token follows when all are counted.
-- @include changes
local function lease(q, holder, visibility_ms)
  local id, record = q.ids[q.at], q.records[q.at]
  q.at, q.taken = q.at + 1, q.taken + 1
  local c = changed[id] or change(id, record, q, "pending")
  local lease_end = now + (visibility_ms or q.visibility_ms)
  record[R_STATE], record[R_ATTEMPTS], record[R_DUE] = S_CLAIMED, record[R_ATTEMPTS] + 1, lease_end
  record[R_HOLDER], record[R_VERB] = holder, ""
  c.to, c.to_set, c.score = q, "claimed", lease_end
  event(c, "claimed", holder)
  return c
end
