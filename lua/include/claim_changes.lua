-- What a claim changes besides its leases: messages that expire on the way, and those that time sent back to a queue
-- in this very call, which take their places among the others.
-- @include write_changes

local function in_order(a, b)
  return a.score < b.score or (a.score == b.score and a.id < b.id)
end

-- Adds what returned to the queue with a score from `q.from` up to the window's last, or any if it is the end.
local function merge_returned(q)
  local merged, last = {}, q.from or -1
  for i, id in ipairs(q.ids) do
    last = tonumber(redis.call("ZSCORE", set_key(q, "pending"), id))
    merged[i] = { id = id, score = last, raw = q.raws[i] }
  end
  for _, c in ipairs(changes) do
    local here = c.to == q and c.to_set == "pending"
    if here and c.score > (q.from or -1) and not (q.more and c.score > last) then
      merged[#merged + 1] = { id = c.id, score = c.score, raw = write_record(c.record), change = c }
    end
  end
  table.sort(merged, in_order)
  q.returned, q.from = {}, last
  for i, member in ipairs(merged) do
    q.ids[i], q.raws[i], q.returned[i] = member.id, member.raw, member.change or false
  end
end

-- The message at a place of the window expires. False once that has happened to very many.
local function expire_head(q, at)
  local c = q.returned and q.returned[at] or change(q.ids[at], read_record(q.raws[at]), q, "pending")
  end_expired(c, q, "", "")
  return #changes + (routing and #routing.copies or 0) < 1000
end
