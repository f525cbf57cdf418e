#!lua flags=allow-oom
--[[
extend: lengthen leases, counted from now; the heartbeat of a consumer.

@keys shard epoch journal due
@keys scope meta state
@item id uuid the message
@item token text(40)? the claim token; empty: the caller must be the current holder
@item holder text(320) who asks
@item visibility_ms int(1,43200000)? the new length; empty: the queue's
@reply OK lease_end_ms cancel_requested
@reply CLAIM_LOST another claim holds it, or the lease was taken back
@reply INVALID_STATE state
@reply NOT_FOUND not in the index: the rows may know it
@complexity O(items * log queue)
@journal extended
@since 0.1.0
]]
-- @arguments
-- @include ready
-- @include clock
-- @include items
-- @include check_holder
-- @include commit
local ids, records = items()
local replies = {}
for i, id in ipairs(ids) do
  local at, record = FIRST + (i - 1) * STRIDE, records[i]
  local holder = ARGV[at + A_HOLDER]
  local refusal = check_holder(record, ARGV[at + A_TOKEN], holder, V_EXTEND)
  if not refusal then
    local q = queue(record[R_QUEUE])
    local lease_end = now + (tonumber(ARGV[at + A_VISIBILITY_MS]) or settings(q).visibility_ms)
    if not changed[id] then
      event(change(id, record, q, "claimed"), "extended", holder)
    end
    local c = changed[id]
    c.to, c.to_set, c.score, record[R_DUE] = q, "claimed", lease_end, lease_end
  end
  replies[i] = refusal or { "OK", record[R_DUE], bit.band(record[R_FLAGS], F_CANCEL) / F_CANCEL }
end
return { { "OK", commit() }, unpack(replies) }
