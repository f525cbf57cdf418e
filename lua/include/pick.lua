-- The queue to take from next: by the order given, by publish order, or by turns.
-- @include claim_window
local function pick(open, strategy)
  local best, best_key
  for place, q in ipairs(open) do
    local id, record = head(q)
    if id then
      local key = place
      if strategy == "ordered" then
        return q
      elseif strategy == "oldest" then
        key = record[R_SEQ]
      elseif strategy == "fair" then
        key = q.taken * #open + (place + time[2]) % #open
      end
      if not best or key < best_key then
        best, best_key = q, key
      end
    end
  end
  return best
end
