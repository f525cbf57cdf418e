-- What a scope's rules make of a message `m`: nothing is written here, so that the dry run is the same code.
-- m: id, stored (the id that its envelope is stored under, or `envelope`), rank, attempts, expires, overlay, values, hops, cause.
-- The outcome changes rank, delay, expires and overlay in m; `to`, `dead` or `archived` say where it goes; `log` holds
-- event, queue, detail and rule of each step; `copies` the new messages.
-- @include rule_program
-- @include rule_test
-- @include rule_fields
-- @include rule_breaker
-- @include rule_actions
-- The first that matches; none where that would send the message to where it is, and in the system's queues.
local function matching_rule(m, trigger, out)
  local program, at = m.queue:sub(1, 1) ~= "_" and rule_program(trigger), 1
  local rows = program and program.rows
  local asked, found = {}, {}
  while program and at ~= 0 do
    if at < 0 then
      local rule = rule_at(program, -at)
      if target_of(rule) == m.queue then
        return nil
      end
      local may, tripped = may_act(rule)
      if may then
        return rule
      elseif tripped then
        note_step(out, "breaker_tripped", m.queue, rule)
      end
      at = program.places[-3 * at - 2]
    else
      local field = rows[at]
      if not asked[field] then
        asked[field], found[field] = true, field_value(m, program.fields[field])
      end
      at = rows[at + (passes(found[field], rows[at + 1], rows[at + 2]) and 3 or 4)]
    end
  end
  return nil
end

-- A message that a rule moved or copied into a queue meets the rules for what is published there.
function follow_rules(m, trigger, q, copies)
  local out = { log = {}, copies = copies }
  local here = q
  repeat
    m.queue = here.slug
    local rule = matching_rule(m, trigger, out)
    out.matched = out.matched or rule ~= nil
    local before = out.to
    if rule then
      act(rule, m, here, out)
    end
    trigger, here = "p", out.to
  until out.to == before or out.dead
  if out.dead or out.archived then
    count_in(m, nil)
  end
  return out
end
