-- The queue to take from next: by the order given, by publish order, or by turns.
-- @include claim_window
local function pick(queues, strategy)
  local best, best_key
  for place, q in ipairs(queues) do
    if has_next(q) then
      local key = place
      if strategy == "ordered" then
        return q
      elseif strategy == "oldest" then
        key = struct.unpack(">I6", q.raws[q.at], 36)
      elseif strategy == "fair" then
        key = q.taken * #queues + (place + time[2]) % #queues
      end
      if not best or key < best_key then
        best, best_key = q, key
      end
    end
  end
  return best
end
