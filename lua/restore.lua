#!lua flags=allow-oom
--[[
restore: put messages back into the index from their rows. Only while the shard has no epoch; claimed
messages come back as pending, with the attempt counted. Called by recovery alone.

@keys shard epoch journal due limits
@keys scope meta state body overlay outcome
@arg seq_floor int(0,9007199254740991) the scope's publish counter is at least this
@arg token_floor int(0,9007199254740991) its token counter is at least this
@items 0
@item id uuid the message
@item record bytes its state record
@item envelope bytes header, newline, body
@item overlay bytes? what rules changed
@item outcome bytes? response and failure reason, msgpack
@reply OK it is in the index, or gone from it if it is terminal
@reply KEPT the index holds this version or a newer one
@complexity O(items * log queue)
@journal restored, for those that were claimed, or cancelled where that was requested
@since 0.1.0
]]
-- @arguments
-- @include clock
local epoch = A_EPOCH
if epoch == "" or redis.call("EXISTS", EPOCH_KEY) == 1 then
  return { { "NOT_READY" } }
end
-- @include items
-- @include commit
-- @include parsed_record
-- @include void_lease
-- @include write_restored
local ids, known = items()
local replies, envelopes, shared, overlays, results, gone = {}, {}, {}, {}, {}, {}

local function older(a, b)
  return a[R_EPOCH] < b[R_EPOCH] or (a[R_EPOCH] == b[R_EPOCH] and a[R_N] < b[R_N])
end

local function keep(list, id, value)
  if value ~= "" then
    list[#list + 1], list[#list + 2] = id, value
  end
end

local decoded = {}
for i = 1, #ids do
  local record = parsed_record(ARGV[FIRST + (i - 1) * STRIDE + A_RECORD])
  if not record then
    return bad("record", "is not a state record")
  end
  decoded[i] = record
end
for i, id in ipairs(ids) do
  local at, record, before = FIRST + (i - 1) * STRIDE, decoded[i], known[i]
  if before and not older(before, record) then
    replies[i] = { "KEPT" }
  else
    local q = queue(record[R_QUEUE])
    local c = change(id, record)
    c.keeps_version = true
    if before and SETS[before[R_STATE]] then
      c.from, c.from_set, c.expires = queue(before[R_QUEUE]), SETS[before[R_STATE]], before[R_EXPIRES]
    end
    if record[R_STATE] == S_CLAIMED then
      c.keeps_version = false
      void_lease(c, q)
    elseif record[R_STATE] == S_PENDING then
      c.to, c.to_set, c.score = q, "pending", score(q, record)
    elseif SETS[record[R_STATE]] then
      c.to, c.to_set, c.score = q, SETS[record[R_STATE]], record[R_DUE]
    else
      gone[#gone + 1] = id
    end
    local leaves = gone[#gone] == id
    if leaves ~= not before then
      share(before or record, leaves and -1 or 1)
    end
    if record[R_SHARED] ~= "" then
      keep(shared, record[R_SHARED], ARGV[at + A_ENVELOPE])
    else
      keep(envelopes, id, ARGV[at + A_ENVELOPE])
    end
    keep(overlays, id, ARGV[at + A_OVERLAY])
    keep(results, id, ARGV[at + A_OUTCOME])
    replies[i] = { "OK" }
  end
end
return { { "OK", write_restored(envelopes, shared, overlays, results, gone) }, unpack(replies) }
