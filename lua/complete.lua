#!lua flags=allow-oom
--[[
complete: end claimed messages with success.

@keys shard epoch journal due
@keys scope meta state outcome
@item id uuid the message
@item token text(40)? the claim token; empty: the caller must be the current holder
@item holder text(320) who asks: principal, or principal/consumer
@item response bytes? what the consumer answers, as JSON text
@reply OK state 0 queue
@reply CLAIM_LOST another claim holds it, or the lease was taken back
@reply INVALID_STATE state
@reply NOT_FOUND not in the index: the rows may know it
@complexity O(items)
@journal completed
@since 0.1.0
]]
-- @arguments
-- @include ready
-- @include clock
-- @include items
-- @include check_holder
-- @include outcomes
-- @include commit
local ids, records = items()
local replies = {}
for i, id in ipairs(ids) do
  local at, record = FIRST + (i - 1) * STRIDE, records[i]
  local holder, response = ARGV[at + A_HOLDER], ARGV[at + A_RESPONSE]
  local refusal = check_holder(record, ARGV[at + A_TOKEN], holder, "complete")
  if not refusal then
    local c = change(id, record, queue(record[R_QUEUE]), "claimed")
    record[R_VERB] = "complete"
    finish(c, S_COMPLETED)
    event(c, "completed", holder)
    if response ~= "" then
      outcome(c, response, "")
    end
  end
  replies[i] = refusal or { "OK", "completed", 0, record[R_QUEUE] }
end
local entry = commit()
write_outcomes()
return { { "OK", entry }, unpack(replies) }
