#!lua flags=allow-oom
--[[
release: return claimed messages untried; the attempt does not count.

@keys shard epoch journal due
@keys scope meta state
@item id uuid the message
@item token text(40)? the claim token; empty: the caller must be the current holder
@item holder text(320) who asks
@item delay_ms int(0,31622400000)? how long it stays out of reach
@reply OK state ready_at queue
@reply CLAIM_LOST another claim holds it, or the lease was taken back
@reply INVALID_STATE state
@reply NOT_FOUND not in the index: the rows may know it
@complexity O(items * log queue)
@journal released expired cancelled
@since 0.1.0
]]
-- @arguments
-- @include ready
-- @include clock
-- @include items
-- @include check_holder
-- @include commit
-- @include give_back
local ids, records = items()
local replies = {}
for i, id in ipairs(ids) do
  local at, record = FIRST + (i - 1) * STRIDE, records[i]
  local holder = ARGV[at + A_HOLDER]
  local refusal = check_holder(record, ARGV[at + A_TOKEN], holder, V_RELEASE)
  if not refusal then
    local q = queue(record[R_QUEUE])
    local c = change(id, record, q, "claimed")
    record[R_VERB], record[R_ATTEMPTS] = V_RELEASE, record[R_ATTEMPTS] - 1
    give_back(c, q, "released", "", tonumber(ARGV[at + A_DELAY_MS]) or 0, false, holder)
  end
  replies[i] = refusal or { "OK", STATES[record[R_STATE]], record[R_DUE], record[R_QUEUE] }
end
return { { "OK", commit() }, unpack(replies) }
