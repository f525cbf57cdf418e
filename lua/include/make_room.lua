-- Whether a queue takes one more message, and which queue it then goes to, by its max_depth and overflow.
-- The oldest of a full `drop_oldest` queue makes room, unless this very call published it. `waits`: the message
-- will count towards the depth.
-- @include oldest_waiting
local function make_room(q, waits)
  if q.max_depth == 0 then
    return true, q
  end
  if not q.depth then
    q.depth = redis.call("ZCARD", q.pending) + redis.call("ZCARD", q.scheduled)
  end
  if q.depth < q.max_depth then
    q.depth = q.depth + (waits and 1 or 0)
    return true, q
  elseif q.overflow == "dead_letter" then
    return true, queue("_dead_letter")
  elseif q.overflow == "drop_oldest" then
    local id, record = oldest_waiting(q)
    if id then
      local c = change(id, record, q, SETS[record[R_STATE]])
      finish(c, S_CANCELLED)
      event(c, "cancelled", "", "overflow")
      q.depth = q.depth - (waits and 0 or 1)
      return true, q
    end
  end
  return false
end
