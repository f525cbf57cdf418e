-- Sends a message `m` to another queue, or a copy of it.
-- @include may_enter
-- @include derived_id
-- @include rule_changes
local follow_rules

-- True where a rule may send a message into the queue; what awaits a human needs no room.
local function has_room(q, m)
  if may_enter(q, "active", "relay") then
    return false
  elseif m.review then
    return true
  elseif q.max_depth > 0 and not q.depth then
    q.depth = redis.call("ZCARD", q.root .. ":pending") + redis.call("ZCARD", q.root .. ":scheduled")
  end
  return q.max_depth == 0 or q.depth < q.max_depth
end

-- A message that this call sends counts towards the depth of the queue where it is now; nil: of none.
local function count_in(m, q)
  if m.counted then
    m.counted.depth = m.counted.depth - 1
  end
  if q then
    q.depth = (q.depth or 0) + 1
  end
  m.counted = q
end

local function give_up(out, rule, reason)
  out.dead = reason
  note_step(out, "dead_lettered", "_dead_letter", rule, reason)
end

-- False where that is one hop too many. The header of what came from another scope brings the hops along.
local function count_hop(m, out, rule)
  local hops = (m.hops or tonumber(header_value(m, "hops")) or 0) + 1
  m.hops, change_overlay(m).hops = hops, hops
  if hops > rule_limits() then
    give_up(out, rule, "ROUTING_LOOP")
  end
  return not out.dead
end

-- `route.to` is a queue of another scope: the message waits in this one until it is sent on.
local function send(m, out, slug, rule)
  local to, overlay = rule.route and rule.route.to, change_overlay(m)
  overlay.outbound = to or overlay.outbound
  if not count_hop(m, out, rule) then
    return
  elseif not has_room(queue(slug), m) then
    return give_up(out, rule, "ROUTE_TARGET")
  end
  out.to = queue(slug)
  count_in(m, not m.review and out.to or nil)
  note_step(out, "routed", slug, rule, to and rule.name .. ": to " .. to)
end

local function copy(rule, m, out, slug)
  local child = {
    id = derived_id(m.id, slug, m.cause),
    stored = m.stored,
    shared = m.shared,
    envelope = m.envelope,
    rank = m.rank,
    attempts = 0,
    expires = m.expires and m.expires > now and m.expires or 0,
    deadline = m.deadline,
    retries = m.retries,
    overlay = m.overlay,
    values = m.values,
    hops = m.hops,
    cause = m.cause,
    born = slug,
    parent = m.id,
  }
  local overlay = change_overlay(child)
  overlay.parent_id, overlay.causation_id, overlay.idempotency_key = m.id, m.id, cjson.null
  if rule.transform then
    transform(child, rule.transform)
  end
  note_step(out, "routed", slug, rule, rule.name .. ": copy " .. child.id)
  local first = { log = {} }
  send(child, first, slug, rule)
  out.copies[#out.copies + 1] = child
  if first.dead then
    child.out = first
  else
    child.out = follow_rules(child, "p", first.to, out.copies)
    child.out.to = child.out.to or first.to
  end
end
