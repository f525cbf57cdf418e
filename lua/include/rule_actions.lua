-- What the rules do to a message `m`, noted in it and in the outcome `out`.
-- @include may_enter
-- @include derived_id
local follow_rules

local function note_step(out, name, slug, rule, detail)
  out.log[#out.log + 1] = { name, slug, detail or rule.name, rule.id }
end

-- The overlay of a message, its own to change.
local function change_overlay(m)
  if not m.changed then
    local own = {}
    for name, value in pairs(m.overlay or {}) do
      own[name] = value
    end
    m.overlay, m.changed = own, true
  end
  return m.overlay
end

local function merged_labels(m, own)
  local labels, known = {}, header_value(m, "labels")
  for _, list in ipairs({ type(known) == "table" and known or {}, own }) do
    for name, value in pairs(list) do
      labels[name] = type(name) == "string" and type(value) == "string" and value or nil
    end
  end
  return labels
end

local function transform(m, t)
  local overlay = change_overlay(m)
  overlay.labels = t.labels and merged_labels(m, t.labels) or overlay.labels
  overlay.type = t.type or overlay.type
  overlay.priority, m.rank = t.priority or overlay.priority, t.rank or m.rank
  m.delay = t.delay_ms or m.delay
  if t.ttl_ms then
    overlay.ttl_seconds, m.expires = t.ttl_ms / 1000, now + t.ttl_ms
  end
end

-- True where a rule may send one more message into the queue.
local function has_room(q)
  if may_enter(q, "active") then
    return false
  elseif q.max_depth > 0 and not q.depth then
    q.depth = redis.call("ZCARD", q.root .. ":pending") + redis.call("ZCARD", q.root .. ":scheduled")
  end
  return q.max_depth == 0 or q.depth < q.max_depth
end

local function send(m, out, slug, rule, detail)
  local hops = (m.hops or 0) + 1
  m.hops, change_overlay(m).hops = hops, hops
  if hops > rule_limits() then
    out.dead = "ROUTING_LOOP"
  elseif not has_room(queue(slug)) then
    out.dead = "ROUTE_TARGET"
  else
    out.to = queue(slug)
    note_step(out, "routed", slug, rule, detail)
    return
  end
  note_step(out, "dead_lettered", "_dead_letter", rule, out.dead)
end

local function copy(rule, m, out, slug)
  local child = {
    id = derived_id(m.id, slug, m.cause),
    stored = m.stored,
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

local function act(rule, m, here, out)
  local route, raise = rule.route or {}, rule.escalate or {}
  local slug, copied = route.queue or raise.queue, route.mode == "copy"
  if rule.transform and not copied then
    transform(m, rule.transform)
    note_step(out, "transformed", here.slug, rule)
  end
  if raise.rank and raise.rank > m.rank then
    change_overlay(m).priority, m.rank = raise.priority, raise.rank
    note_step(out, "escalated", here.slug, rule)
  end
  if rule.archive then
    out.archived = true
    note_step(out, "archived", here.slug, rule)
  elseif slug and slug ~= here.slug and copied then
    copy(rule, m, out, slug)
  elseif slug and slug ~= here.slug then
    send(m, out, slug, rule)
  end
end
