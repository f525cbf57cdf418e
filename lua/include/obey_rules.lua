-- Brings what the rules decided into a message's record and into this call's writes.
-- @include bury
-- @include await_review
-- @include follow_rules
-- @include object_text
local overlays, copies, copied = {}, {}, {}

local function log_steps(m, out)
  for _, step in ipairs(out.log) do
    log_event(m.id, step[1], step[2], m.attempts, "", step[3])
  end
end

-- True where the outcome has placed the message, or ended it.
local function obey(c, m, out)
  local record = c.record
  record[R_RANK] = m.rank
  if m.changed then
    overlays[#overlays + 1], overlays[#overlays + 2] = c.id, object_text(m.overlay)
    record[R_FLAGS] = bit.bor(record[R_FLAGS], F_OVERLAY)
  end
  c.expires = c.expires or record[R_EXPIRES]
  record[R_EXPIRES] = m.expires
  if out.dead then
    bury(c, out.dead)
  elseif out.archived then
    finish(c, S_ARCHIVED)
  elseif m.review then
    await_review(c, out.to or queue(record[R_QUEUE]), m.review)
  elseif out.to then
    enter(c, out.to, now + (m.delay or 0))
  end
  return out.dead or out.archived or m.review or out.to
end

-- The copies become messages; their part of the journal entry is returned: the count of what was published.
local function spawn_copies()
  if #copies == 0 then
    return nil
  end
  local seq = redis.call("HINCRBY", SCOPE_ROOT .. ":meta", "seq", #copies) - #copies
  for k, m in ipairs(copies) do
    local envelope = envelope_of(m)
    -- stylua: ignore
    local record = { S_PENDING, V_NONE, 0, 0, 0, 0, 0, now, 0, 0, seq + k, m.rank, #envelope,
      m.retries, now, m.born, m.deadline, 0, "", "" }
    copied[2 * k - 1], copied[2 * k] = m.id, envelope
    log_event(m.id, "published", m.born, 0, "", "copy of " .. m.parent)
    log_steps(m, m.out)
    obey(change(m.id, record), m, m.out)
  end
  return "p", redis.call("HINCRBY", SHARD_ROOT .. ":limits", "published", #copies)
end

local function write_routing()
  for key, list in pairs({ [":overlay"] = overlays, [":body"] = copied }) do
    if #list > 0 then
      redis.call("HSET", SCOPE_ROOT .. key, unpack(list))
    end
  end
  write_breakers()
  if bodies_skipped > 0 then
    redis.call("HINCRBY", SCOPE_ROOT .. ":breakers", "bodies_skipped", bodies_skipped)
  end
end
