-- A lease ends without success: a cancel request wins, then expiry, then a retry, then the dead letter; where the scope
-- has rules for it they may send the message elsewhere.
-- `delay`: ms until a retry; `last_attempt`: no further attempt. Returns the event's name.
-- @include bury
-- @include rerouting
local function give_back(c, q, event_name, reason, delay, last_attempt, actor)
  local record = c.record
  record[R_HOLDER] = ""
  if bit.band(record[R_FLAGS], F_CANCEL) ~= 0 then
    finish(c, S_CANCELLED)
    event_name = "cancelled"
  elseif record[R_EXPIRES] > 0 and record[R_EXPIRES] <= now then
    return end_expired(c, q, actor, reason)
  elseif event_name == "failed" and rules_move("f", c, q, event_name, actor, reason) then
    return event_name
  elseif last_attempt and q.slug ~= "_dead_letter" then
    if rules_move("d", c, q, event_name, actor, reason) then
      return event_name
    end
    bury(c, reason)
    event_name = "dead_lettered"
  else
    enter(c, q, now + (c.delay or delay))
  end
  event(c, event_name, actor, reason)
  return event_name
end
