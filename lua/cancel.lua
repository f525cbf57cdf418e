#!lua flags=allow-oom
--[[
cancel: take back messages nobody works on; the holder of a claimed one hears of it at its next extend.

@keys shard epoch journal due
@keys scope meta state
@item id uuid the message
@item actor text(320) who asks
@reply OK cancelled
@reply OK cancel_requested
@reply INVALID_STATE state
@reply NOT_FOUND not in the index: the rows may know it
@complexity O(items * log queue)
@journal cancelled cancel_requested
@since 0.1.0
]]
-- @arguments
-- @include ready
-- @include clock
-- @include items
-- @include commit
local ids, records = items()
local replies = {}
for i, id in ipairs(ids) do
  local record, actor = records[i], ARGV[FIRST + (i - 1) * STRIDE + A_ACTOR]
  local state = record and record[R_STATE]
  if not record then
    replies[i] = { "NOT_FOUND" }
  elseif state > S_REVIEW then
    replies[i] = { "INVALID_STATE", STATES[state] }
  elseif state == S_CLAIMED then
    if bit.band(record[R_FLAGS], F_CANCEL) == 0 then
      record[R_FLAGS] = record[R_FLAGS] + F_CANCEL
      local c = change(id, record)
      event(c, "cancel_requested", actor)
    end
    replies[i] = { "OK", "cancel_requested" }
  else
    local c = change(id, record, queue(record[R_QUEUE]), SETS[state])
    finish(c, S_CANCELLED)
    event(c, "cancelled", actor)
    replies[i] = { "OK", "cancelled" }
  end
end
return { { "OK", commit() }, unpack(replies) }
