#!lua flags=allow-oom
--[[
erase: put something else in the place of what messages hold. What waits or is claimed ends as cancelled, and its
holder's token counts no more; or it stays as it is, with the new content.

@keys shard epoch journal due
@keys scope meta state body overlay outcome
@arg stay int(0,1) 1: what is not ended goes on with the new content
@arg actor text(320) who asks
@item id uuid the message
@item envelope bytes? header, newline, body: what stands for it from now on, and for all that share its envelope; empty: an item before it, which shares it, has said so
@item outcome bytes? response and failure reason, msgpack, likewise; empty: none
@item alone int(0,1)? 1: from now on it shares its envelope with no other
@reply OK state
@reply NOT_FOUND not in the index: the rows may know it
@complexity O(items * log queue)
@journal cancelled for what is ended by it, erased or redacted for the others
@since 0.1.0
]]
-- @arguments
-- @include ready
-- @include clock
-- @include items
-- @include commit
-- @include shares
local ids, records = items()
local stays, opaque = A_STAY == "1", 8 + 16 + F_OVERLAY + F_OUTCOME
local replies, envelopes, shared, sizes, outcomes, gone = {}, {}, {}, {}, {}, {}

local function end_now(id, record)
  local c = change(id, record, queue(record[R_QUEUE]), SETS[record[R_STATE]])
  record[R_TOKEN_EPOCH], record[R_TOKEN], record[R_VERB], record[R_HOLDER] = 0, 0, V_NONE, ""
  finish(c, S_CANCELLED)
  event(c, "cancelled", A_ACTOR, "erased")
end

for i, id in ipairs(ids) do
  local at, record = FIRST + (i - 1) * STRIDE, records[i]
  if record then
    if record[R_STATE] <= S_REVIEW and not stays then
      end_now(id, record)
    else
      event(change(id, record), stays and "redacted" or "erased", A_ACTOR)
    end
    local envelope, outcome = ARGV[at + A_ENVELOPE], ARGV[at + A_OUTCOME]
    if ARGV[at + A_ALONE] == "1" then
      share(record, -1)
      record[R_SHARED] = ""
    end
    local stored = record[R_SHARED] ~= "" and record[R_SHARED] or id
    if envelope ~= "" then
      local list = stored == record[R_SHARED] and shared or envelopes
      list[#list + 1], list[#list + 2], sizes[stored] = stored, envelope, #envelope
    end
    record[R_SIZE] = sizes[stored] or record[R_SIZE]
    record[R_FLAGS] = bit.band(record[R_FLAGS], bit.bnot(opaque))
    if record[R_ORIGIN] ~= "" then
      local origin = cmsgpack.unpack(record[R_ORIGIN])
      origin[2] = "erased"
      record[R_ORIGIN] = cmsgpack.pack(origin)
    end
    gone[#gone + 1] = id
    if outcome ~= "" then
      record[R_FLAGS] = record[R_FLAGS] + F_OUTCOME
      outcomes[#outcomes + 1], outcomes[#outcomes + 2] = id, outcome
    end
  end
  replies[i] = record and { "OK", STATES[record[R_STATE]] } or { "NOT_FOUND" }
end
if #gone > 0 then
  redis.call("HDEL", OVERLAY_KEY, unpack(gone))
  redis.call("HDEL", OUTCOME_KEY, unpack(gone))
end
local keys = { BODY_KEY, SCOPE_ROOT .. ":shared", OUTCOME_KEY }
for i, list in ipairs({ envelopes, shared, outcomes }) do
  if #list > 0 then
    redis.call("HSET", keys[i], unpack(list))
  end
end
write_shares()
return { { "OK", commit() }, unpack(replies) }
