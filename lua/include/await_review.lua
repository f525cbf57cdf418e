-- Sends a message to a queue's reviews, for `ms`; it may be escalated there once.
-- @include changes
local function await_review(c, q, ms)
  local record = c.record
  record[R_STATE], record[R_DUE], record[R_QUEUE] = S_REVIEW, now + ms, q.slug
  record[R_VERB] = record[R_VERB] ~= V_ESCALATE and record[R_VERB] or V_NONE
  c.to, c.to_set, c.score = q, "review", now + ms
end
