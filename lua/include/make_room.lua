-- The queue that one more message goes to, by max_depth and overflow; nil where there is no room.
-- The oldest of a full `drop_oldest` queue makes room, unless this very call published it. `waits`: the message
-- will count towards the depth.
-- @include settings
local drop_oldest = function(full, waits)
  -- @include oldest_waiting
  local id, record = oldest_waiting(full)
  if id then
    local c = change(id, record, full, SETS[record[R_STATE]])
    finish(c, S_CANCELLED)
    event(c, "cancelled", "", "overflow")
    full.depth = full.depth - (waits and 0 or 1)
  end
  return id
end

local function make_room(q, waits)
  q.depth = q.depth
    or redis.call("ZCARD", set_key(q, "pending")) + redis.call("ZCARD", set_key(q, "scheduled"))
  if q.depth < q.max_depth then
    q.depth = q.depth + (waits and 1 or 0)
    return q
  elseif settings(q).overflow == "dead_letter" then
    return queue("_dead_letter")
  elseif q.overflow == "drop_oldest" and drop_oldest(q, waits) then
    return q
  end
  return nil
end
