-- Messages with options, those of a queue with a bound or with subscriptions, and all where rules are: who may enter,
-- where they go, what leaves.
-- @include write_changes
-- @include bury
-- @include await_review
-- @include idempotency
-- @include make_room
local meet = nil -- the rules, where there are some
local subscribers = nil -- who gets copies, where a queue is broadcast
local met, invited = {}, {}

-- The reply of an item that can't be taken, else nil and the queue that it goes to.
local function admit(id, o, q, duplicate, full, envelope)
  local reply = (o.idem and key_owner(o)) or duplicate or (full and { "BACKLOG" })
  if reply then
    return reply
  end
  local target, r = q, meet and meet(id, o, q, envelope)
  if q.max_depth > 0 and not (r and r.leaves) and q.access ~= "broadcast" then
    target = make_room(q, not (o.review_ms or (r and r.review)))
    if not target then
      if r then
        r.forget()
      end
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
  if r then
    met[id] = r
    r.log()
  end
  if q.access == "broadcast" and not (r and r.leaves) then
    invited[id] = subscribers.invite(id, o, q, envelope, r)
  end
  return nil, target
end

local function expiry(o)
  local ends = o.ttl_ms and now + o.ttl_ms
  return ends and o.deadline and math.min(ends, o.deadline) or ends or o.deadline or 0
end

-- Sends a message to its place; its record and its reply.
local function place(id, o, q, target, seq, envelope, n)
  -- stylua: ignore
  local record = { S_PENDING, V_NONE, 0, 0, epoch, n, 0, now, 0, 0, seq, o.rank or 2500, #envelope,
    o.max_retries or QUEUES_RETRIES, now, q.slug, o.deadline or 0, expiry(o), "", "" }
  local c = { id = id, record = record }
  local r = met[id]
  local placed = r and r.obey(c)
  if target ~= q then
    bury(c, "overflow")
  elseif o.review_ms and not placed then
    await_review(c, target, o.review_ms)
  elseif not placed then
    enter(c, target, now + (r and r.delay() or o.delay_ms or 0))
  end
  if invited[id] then
    subscribers.spread(c, invited[id], envelope, r)
  end
  if c.to then
    arrive(id, record[R_EXPIRES], c.to, c.to_set, c.score)
  end
  return write_record(record), { "OK", STATES[record[R_STATE]], r and "routed" or nil }
end

local function write_specials(records, n)
  gather_changes(records, n)
  if subscribers then
    subscribers.write(records)
  end
  write_removals()
  write_additions()
  write_keys()
end
