-- Messages with options, and those of a queue with a bound: who may enter, where they go, and what leaves for them.
-- @include write_changes
-- @include bury
-- @include idempotency
-- @include make_room

-- The reply of an item that can't be taken, else nil and the queue that it goes to.
local function admit(id, o, q, duplicate, full)
  local reply = (o.idem and key_owner(o)) or duplicate or (full and { "BACKLOG" })
  if reply then
    return reply
  end
  local target = q
  if q.max_depth > 0 then
    target = make_room(q, not o.review_ms)
    if not target then
      return { "FULL" }
    end
  end
  if o.idem then
    remember_key(id, o)
  end
  -- An overflowing queue sends what it can't hold to the dead letter.
  local buried = target ~= q
  local name, detail = buried and "dead_lettered" or "published", buried and "overflow" or ""
  log_event(id, name, target.slug, 0, o.actor or A_ACTOR, detail)
  return nil, target
end

local function expiry(o)
  local ends = o.ttl_ms and now + o.ttl_ms
  return ends and o.deadline and math.min(ends, o.deadline) or ends or o.deadline or 0
end

-- Sends a message to its place; its record and its reply.
local function place(id, o, q, target, seq, size, n)
  -- stylua: ignore
  local record = { S_PENDING, V_NONE, 0, 0, epoch, n, 0, now, 0, 0, seq, o.rank or 2500, size,
    o.max_retries or QUEUES_RETRIES, now, q.slug, o.deadline or 0, expiry(o), "", "" }
  local c = { id = id, record = record }
  if target ~= q then
    bury(c, "overflow")
  elseif o.review_ms then
    record[R_STATE], record[R_DUE] = S_REVIEW, now + o.review_ms
    c.to, c.to_set, c.score = target, "review", now + o.review_ms
  else
    enter(c, target, now + (o.delay_ms or 0))
  end
  arrive(id, record[R_EXPIRES], c.to, c.to_set, c.score)
  return write_record(record), { "OK", STATES[record[R_STATE]] }
end

local function write_specials(records, n)
  gather_changes(records, n)
  write_removals()
  write_additions()
  write_keys()
end
