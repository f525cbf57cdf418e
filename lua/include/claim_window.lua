-- The next messages of a queue in its order: what `pending` holds, and what this very call sent back to it.
-- @include changes
-- @include load_members
local function merge_returned(q, ids, scores)
  local last, ranked = scores[ids[#ids]], {}
  for _, id in ipairs(ids) do
    ranked[#ranked + 1] = { id, scores[id] }
  end
  for _, c in ipairs(changes) do
    if c.to == q and c.to_set == "pending" and not (q.more and c.score > last) then
      ranked[#ranked + 1] = { c.id, c.score }
    end
  end
  table.sort(ranked, function(a, b)
    if a[2] == b[2] then
      return a[1] < b[1]
    end
    return a[2] < b[2]
  end)
  for i, entry in ipairs(ranked) do
    ids[i] = entry[1]
  end
  return ids
end

local function open_window(q, size)
  local ids = redis.call("ZRANGE", q.pending, 0, size - 1)
  q.more, q.at = #ids == size, 1
  if q.settled then
    local scores = {}
    for _, id in ipairs(ids) do
      scores[id] = tonumber(redis.call("ZSCORE", q.pending, id))
    end
    ids = merge_returned(q, ids, scores)
  end
  q.ids, q.records = load_members(q, "pending", ids)
end

-- The queue's next message that may be handed out; those whose time has passed expire on the way.
local function head(q)
  local id, record = q.ids[q.at], q.records[q.at]
  while id and record[R_EXPIRES] > 0 and record[R_EXPIRES] <= now do
    local c = changed[id] or change(id, record, q, "pending")
    finish(c, S_EXPIRED)
    event(c, "expired", "")
    q.at = q.at + 1
    id, record = q.ids[q.at], q.records[q.at]
  end
  return id, record
end
