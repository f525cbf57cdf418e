-- Takes messages from the head of a queue's window for a request: at most `most`, up to the next that has expired, and
-- to `room` bytes but for the first of the call. Returns how many bytes and messages.
-- @include claim_window
local function take(q, request, most, room, first)
  local ids, raws, tries, n, bytes, popped = {}, {}, {}, 0, 0, 0
  local list, stored, slug, holder, tried = q.ids, q.raws, q.slug, request.holder, nil
  for at = q.at, math.min(q.at + most - 1, #list) do
    local raw, id = stored[at], list[at]
    local attempts, flags, _, _, size = struct.unpack(">I2BI6I2I4", raw, 33)
    if flags >= F_LIMITS then
      local expires = expires_at(raw)
      if expires > 0 and expires <= now then
        break
      elseif expires > 0 then
        redis.call("ZREM", q.root .. ":expiry", id)
      end
    end
    if bytes + size > room and not (first and n == 0) then
      request.full = true
      break
    end
    bytes, n, attempts = bytes + size, n + 1, attempts + 1
    ids[n], raws[n], tries[n] = id, raw, attempts
    if attempts == tried then
      local logged = groups[last_group + 5]
      logged[#logged + 1] = id
    else
      log_event(id, "claimed", slug, attempts, holder, "")
      tried = attempts
    end
    if q.returned and q.returned[at] then
      -- It came back in this very call, and leaves again before it is seen.
      q.returned[at].to = nil
    else
      popped = popped + 1
    end
  end
  q.at, q.taken, q.popped = q.at + n, q.taken + n, (q.popped or 0) + popped
  local lease_end = now + (request.visibility_ms or q.visibility_ms)
  request.runs[#request.runs + 1] = { q = q, ids = ids, raws = raws, tries = tries, lease_end = lease_end }
  request.count = request.count + n
  return bytes, n
end
