-- Asks the rules about a message that is being published; nil where they say nothing.
-- @include obey_rules
local function meet_rules(id, o, q, envelope)
  -- stylua: ignore
  local m = { id = id, envelope = envelope, rank = o.rank or 2500, attempts = 0, expires = expiry(o),
    deadline = o.deadline or 0, retries = o.max_retries or QUEUES_RETRIES, delay = o.delay_ms, cause = "p",
    values = o.values and decoded(o.values), review = o.review_ms }
  local before = #copies
  local out = follow_rules(m, "p", q, copies)
  if not out.matched and #out.log == 0 then
    return nil
  end
  return {
    m = m,
    leaves = out.dead or out.archived or out.to,
    review = m.review,
    log = function()
      log_steps(m, out)
    end,
    obey = function(c)
      return obey(c, m, out)
    end,
    delay = function()
      return m.delay
    end,
    -- A message that shares its envelope is changed as it is.
    overlay_too = function(copy_id)
      if m.changed then
        overlays[#overlays + 1], overlays[#overlays + 2] = copy_id, object_text(m.overlay)
      end
    end,
    -- It is refused: neither are its copies made.
    forget = function()
      for k = #copies, before + 1, -1 do
        copies[k] = nil
      end
    end,
  }
end
