-- Reviews that nobody decided in time end as `on_timeout` of the spec in their headers says; without one they expire.
-- @include changes
-- @include outcomes
-- @include decided_at
local REVIEW_BYTES = 8388608 -- a header is read with its body: a call stops there, after one message at least

local function object_in(text)
  local known, value = pcall(cjson.decode, text)
  return known and type(value) == "table" and value or {}
end

-- The spec of a message and for how long it awaits a human, by the rule that put it there, or else its header.
local function asked_of(id, record)
  if bit.band(record[R_FLAGS], F_OVERLAY) ~= 0 then
    local overlay = object_in(redis.call("HGET", SCOPE_ROOT .. ":overlay", id) or "")
    if type(overlay.hitl_spec) == "string" then
      return object_in(overlay.hitl_spec), tonumber(overlay.review_ms)
    end
  end
  local key, field = ":body", id
  if record[R_SHARED] ~= "" then
    key, field = ":shared", record[R_SHARED]
  end
  local envelope = redis.call("HGET", SCOPE_ROOT .. key, field) or ""
  return object_in((envelope:match("^[^\n]*"))).hitl_spec, record[R_DUE] - record[R_CREATED]
end

local function on_timeout(id, record)
  local spec, ms = asked_of(id, record)
  local named = type(spec) == "table" and spec.on_timeout
  return type(named) == "string" and named or "expire", ms
end

-- The name of the event that it makes.
local function time_out(c, q, how, again_ms)
  local record, option = c.record, how:match("^auto:(.+)$")
  if option then
    finish(c, S_COMPLETED)
    local text = '{"decision":%s,"fields":{},"reviewer":"system:timeout","decided_at":"%s"}'
    outcome(c, text:format(cjson.encode(option), decided_at(now)), "")
    event(c, "decided", "system:timeout")
    return "decided"
  elseif how == "requeue" then
    enter(c, q, now)
    event(c, "requeued", "", "review_timeout")
    return "requeued"
  elseif how == "escalate" and record[R_VERB] ~= V_ESCALATE then
    record[R_VERB], record[R_DUE] = V_ESCALATE, now + again_ms
    record[R_RANK] = math.max(record[R_RANK], 4000 + record[R_RANK] % 1000)
    c.to, c.to_set, c.score = q, "review", record[R_DUE]
    event(c, "escalated", "", "review_timeout")
    return "escalated"
  end
  end_expired(c, q, "", "review_timeout")
  return "expired"
end

local function end_reviews(q, limit, counts)
  local ids, records = overdue(q, "review", limit)
  local bytes, ended = 0, 0
  for i, id in ipairs(ids) do
    bytes = bytes + records[i][R_SIZE]
    if crowded() or (i > 1 and bytes > REVIEW_BYTES) then
      break
    end
    ended = i
    if not changed[id] then
      local name = time_out(change(id, records[i], q, "review"), q, on_timeout(id, records[i]))
      counts[name] = (counts[name] or 0) + 1
    end
  end
  write_outcomes()
  return ended
end
