-- What rules change of a message `m`, noted in it and in the steps of the outcome `out`.
-- @include rule_fields
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
