-- Asks the rules about a message whose state is about to change.
-- @include obey_rules
local overlays_now = {}

local function asked(c)
  local id, record = c.id, c.record
  local overlay = overlays_now[id]
  if not overlay and bit.band(record[R_FLAGS], F_OVERLAY) ~= 0 then
    overlay = decoded(redis.call("HGET", SCOPE_ROOT .. ":overlay", id) or "")
  end
  local kept_as, key = id, nil
  if record[R_SHARED] ~= "" then
    kept_as, key = record[R_SHARED], ":shared"
  end
  -- stylua: ignore
  return { id = id, stored = kept_as, shared = key, rank = record[R_RANK], attempts = record[R_ATTEMPTS], expires = record[R_EXPIRES],
    deadline = record[R_DEADLINE], retries = record[R_RETRIES], overlay = overlay,
    hops = overlay and tonumber(overlay.hops) }
end

-- True where a rule has placed the message, or ended it; else what is about to happen goes on.
local function follow(trigger, c, q)
  local m, record = asked(c), c.record
  m.cause = string.format("%s %.0f.%.0f %d", trigger, record[R_TOKEN_EPOCH], record[R_TOKEN], m.hops or 0)
  local out = follow_rules(m, trigger, q, copies)
  if trigger == "c" then
    log_steps(m, out)
  end
  return m, out
end

local function reroute(trigger, c, q, name, actor, detail)
  local record = c.record
  local m, out = follow(trigger, c, q)
  if not out.matched and #out.log == 0 then
    return false
  elseif trigger == "x" and m.expires <= now then
    m.expires = 0
  end
  if out.dead or out.archived or m.review or out.to then
    event(c, name, actor, detail)
  end
  log_steps(m, out)
  local placed = obey(c, m, out)
  overlays_now[c.id], c.delay = m.overlay, m.delay
  if trigger == "d" and (m.review or out.to) then
    record[R_ATTEMPTS] = 0
  end
  return placed
end
