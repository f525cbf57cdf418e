-- What the `then` of a rule does to a message `m`.
-- @include rule_changes
-- @include rule_sending
-- @include rule_review
-- The queue that a rule sends messages to, if any.
local function target_of(rule)
  return rule.route and rule.route.queue or rule.escalate and rule.escalate.queue
end

local function act(rule, m, here, out)
  local slug, raise = target_of(rule), rule.escalate or {}
  local copied = rule.route and rule.route.mode == "copy"
  if rule.transform and not copied then
    transform(m, rule.transform)
    note_step(out, "transformed", here.slug, rule)
  end
  if raise.rank and raise.rank > m.rank then
    change_overlay(m).priority, m.rank = raise.priority, raise.rank
    note_step(out, "escalated", here.slug, rule)
  end
  m.review = raise.review_ms or m.review
  if rule.archive then
    out.archived = true
    note_step(out, "archived", here.slug, rule)
  elseif slug and copied then
    copy(rule, m, out, slug)
  elseif slug then
    send(m, out, slug, rule)
  end
  if raise.spec and not out.dead then
    ask_human(m, out, slug or here.slug, rule, slug)
  end
end
