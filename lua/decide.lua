#!lua flags=allow-oom
--[[
decide: complete messages that await a human, with the reviewer's decision; of two reviewers one wins.

@keys shard epoch journal due
@keys scope meta state outcome
@item id uuid the message
@item version text(40) the version that the reviewer saw, "epoch-n"
@item actor text(320) the reviewer
@item response bytes the decision, as JSON text
@reply OK completed
@reply CONFLICT version
@reply INVALID_STATE state
@reply NOT_FOUND not in the index: the rows may know it
@complexity O(items * log queue)
@journal decided
@since 0.1.0
]]
-- @arguments
-- @include ready
-- @include clock
-- @include items
-- @include outcomes
-- @include commit
local ids, records = items()
local replies = {}
for i, id in ipairs(ids) do
  local at, record = FIRST + (i - 1) * STRIDE, records[i]
  local version = record and string.format("%.0f-%.0f", record[R_EPOCH], record[R_N])
  if not record then
    replies[i] = { "NOT_FOUND" }
  elseif record[R_STATE] ~= S_REVIEW then
    replies[i] = { "INVALID_STATE", STATES[record[R_STATE]] }
  elseif version ~= ARGV[at + A_VERSION] then
    replies[i] = { "CONFLICT", version }
  else
    local c = change(id, record, queue(record[R_QUEUE]), "review")
    finish(c, S_COMPLETED)
    event(c, "decided", ARGV[at + A_ACTOR])
    outcome(c, ARGV[at + A_RESPONSE], "")
    replies[i] = { "OK", "completed" }
  end
end
local entry = commit()
write_outcomes()
return { { "OK", entry }, unpack(replies) }
