-- The next messages of a queue in its order: what `pending` holds, and what this very call sent back to it.
-- A used-up window is followed by the next one; many expired messages on the way end the call instead.
-- @include changes
-- @include load_members
local MOST_CHANGES = 1000

local function in_order(a, b)
  return a.score < b.score or (a.score == b.score and a.id < b.id)
end

-- Adds what returned to the queue with a score from `q.from` up to the window's last, or any if it is the end.
local function merge_returned(q, returned)
  local merged, last = {}, q.from
  for i, id in ipairs(q.ids) do
    last = tonumber(redis.call("ZSCORE", set_key(q, "pending"), id))
    merged[i] = { id = id, score = last, record = q.records[i] }
  end
  for _, c in ipairs(returned) do
    if c.score > q.from and not (q.more and c.score > last) then
      merged[#merged + 1] = c
    end
  end
  table.sort(merged, in_order)
  for i, member in ipairs(merged) do
    q.ids[i], q.records[i] = member.id, member.record
  end
  q.from = last
end

local function next_window(q)
  local ids = redis.call("ZRANGE", set_key(q, "pending"), q.seen, q.seen + q.size - 1)
  q.more, q.at = #ids == q.size, 1
  q.ids, q.records = load_members(q, "pending", ids)
  q.seen = q.seen + #q.ids
  local returned = {}
  for _, c in ipairs(changes) do
    if c.to == q and c.to_set == "pending" then
      returned[#returned + 1] = c
    end
  end
  if #returned > 0 then
    merge_returned(q, returned)
  end
end

local function open_window(q, size)
  q.size, q.seen, q.from = size, 0, -1
  next_window(q)
end

-- The queue's next message that may be handed out; those whose time has passed expire on the way.
local function head(q)
  repeat
    for at = q.at, #q.ids do
      local id, record = q.ids[at], q.records[at]
      if record[R_EXPIRES] == 0 or record[R_EXPIRES] > now then
        q.at = at
        return id, record
      end
      local c = changed[id] or change(id, record, q, "pending")
      finish(c, S_EXPIRED)
      event(c, "expired", "")
    end
    q.at = #q.ids + 1
    if not q.more or #changes >= MOST_CHANGES then
      return nil
    end
    next_window(q)
  until false
end
