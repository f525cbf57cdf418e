#!lua flags=allow-oom
--[[
forget: drop terminal messages whose last version the rows hold.

@keys shard epoch limits
@keys scope meta state body overlay outcome
@arg persisted int(0,9007199254740991)? the shard's published count that the rows have reached
@items 0
@item id uuid the message
@item version text(40) the committed version, "epoch-n"
@reply OK it is gone
@reply KEPT it is not terminal, or newer than the rows
@complexity O(items)
@journal none: what is dropped is already in the rows
@since 0.1.0
]]
-- @arguments
-- @include ready
-- @include record
-- @include items
-- @include shares
local ids, records = items()
local replies, gone = {}, {}
for i, id in ipairs(ids) do
  local record, version = records[i], ARGV[FIRST + (i - 1) * STRIDE + A_VERSION]
  replies[i] = { "KEPT" }
  if record and record[R_STATE] >= S_COMPLETED and record[R_STATE] <= 8 then
    if string.format("%.0f-%.0f", record[R_EPOCH], record[R_N]) == version then
      gone[#gone + 1] = id
      share(record, -1)
      replies[i] = { "OK" }
    end
  end
end
if #gone > 0 then
  for _, key in ipairs({ STATE_KEY, BODY_KEY, OVERLAY_KEY, OUTCOME_KEY }) do
    redis.call("HDEL", key, unpack(gone))
  end
  write_shares()
end
local persisted = tonumber(A_PERSISTED)
if persisted and persisted > tonumber(redis.call("HGET", LIMITS_KEY, "persisted") or 0) then
  redis.call("HSET", LIMITS_KEY, "persisted", A_PERSISTED)
end
return { { "OK", "" }, unpack(replies) }
