-- What this call will change, gathered while it decides: nothing is written before commit().
-- @include record_table
-- @include score
-- @include journal
local changes, changed = {}, {}
-- What routing rules add to them; nil until one is asked.
local routing = nil

-- The message is to leave set `from_set` of queue `from` (nil: it is in none).
local function change(id, record, from, from_set)
  local c = { id = id, record = record, from = from, from_set = from_set, to = nil, to_set = nil, score = 0 }
  changes[#changes + 1] = c
  changed[id] = c
  return c
end

-- Sends it to `pending` of a queue, or to `scheduled` until `ready_at`.
local function enter(c, q, ready_at)
  local record = c.record
  record[R_QUEUE], c.to = q.slug, q
  if ready_at > now then
    record[R_STATE], record[R_DUE] = S_SCHEDULED, ready_at
    c.to_set, c.score = "scheduled", ready_at
  else
    record[R_STATE], record[R_DUE] = S_PENDING, 0
    c.to_set, c.score = "pending", score(q, record)
  end
end

-- Ends it in a terminal state.
local function finish(c, state)
  c.record[R_STATE], c.record[R_DUE] = state, 0
  c.to, c.to_set = nil, nil
end

-- Its line in this call's journal entry.
local function event(c, name, actor, detail)
  log_event(c.id, name, c.record[R_QUEUE], c.record[R_ATTEMPTS], actor, detail or "")
end
