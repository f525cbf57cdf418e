#!lua flags=allow-oom
--[[
fail: give up on claimed messages; each is tried again after a backoff, or goes to the dead letter.

@keys shard epoch journal due
@keys scope meta state outcome
@item id uuid the message
@item token text(40)? the claim token; empty: the caller must be the current holder
@item holder text(320) who asks
@item reason text(4096)? why, for people
@item retryable int(0,1)? 0: no further attempt
@item retry_after_ms int(0,31622400000)? instead of the queue's backoff
@reply OK state ready_at queue
@reply CLAIM_LOST another claim holds it, or the lease was taken back
@reply INVALID_STATE state
@reply SPLIT nothing is done: with the copies that rules make these are more than 1,000; send fewer
@reply NOT_FOUND not in the index: the rows may know it
@complexity O(items * log queue)
@journal failed routed transformed escalated archived dead_lettered expired cancelled
@since 0.1.0
]]
-- @arguments
-- @include ready
-- @include clock
-- @include items
-- @include check_holder
-- @include outcomes
-- @include exhausted
-- @include backoff
-- @include commit
-- @include give_back
local ids, records = items()
local replies = {}
for i, id in ipairs(ids) do
  local at, record = FIRST + (i - 1) * STRIDE, records[i]
  local holder, reason = ARGV[at + A_HOLDER], ARGV[at + A_REASON]
  local refusal = check_holder(record, ARGV[at + A_TOKEN], holder, V_FAIL)
  if not refusal then
    local q = queue(record[R_QUEUE])
    local c = change(id, record, q, "claimed")
    local delay = tonumber(ARGV[at + A_RETRY_AFTER_MS]) or backoff(q, record[R_ATTEMPTS])
    local last = ARGV[at + A_RETRYABLE] == "0" or exhausted(q, record)
    record[R_VERB] = V_FAIL
    outcome(c, "", reason)
    give_back(c, q, "failed", reason, delay, last, holder)
  end
  replies[i] = refusal or { "OK", STATES[record[R_STATE]], record[R_DUE], record[R_QUEUE] }
end
if routing and #ids + #routing.copies > 1000 then
  -- @include split
  return split()
end
local entry = commit()
write_outcomes()
return { { "OK", entry }, unpack(replies) }
