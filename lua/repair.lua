#!lua flags=allow-oom
--[[
repair: put messages where their records say they belong, and what the index lost of them back from their rows.
Everything is decided anew here, so a message that moved meanwhile stays where it is. Called by the consistency
checker alone.

@keys shard epoch journal due limits
@keys scope meta state body overlay outcome
@keys queue* meta pending scheduled claimed expiry review
@keys item idem
@arg queues int(1,64) how many queues KEYS declares: where the messages may stand; their place in the due index is set
@arg seq_floor int(0,9007199254740991) the scope's publish counter is at least this
@arg token_floor int(0,9007199254740991) its token counter is at least this
@items 0
@item id uuid the message
@item found text(64) what was found, for its history
@item record bytes? its row's state record, in case the index has none
@item envelope bytes? its row's envelope, in case the index has none
@item overlay bytes? what rules changed, likewise
@item outcome bytes? response and failure reason, likewise
@item idem index? an idempotency key in KEYS: it is forgotten if it names a message that nobody knows
@reply OK it is in its place; a lease that was lost is void
@reply NOT_FOUND neither the index nor the caller knows it: nothing of it is left
@complexity O(items * queues * log queue)
@journal repaired, also so that its row is written again; restored or cancelled for a lease that was lost
@since 0.1.0
]]
-- @arguments
-- @include ready
-- @include clock
-- @include items
-- @include commit
-- @include parsed_record
-- @include put_back
-- @include write_restored
-- @include next_due
local ids, records = items()
local replies, gone, content, lost = {}, {}, { {}, {}, {}, {} }, {}

for i in ipairs(ids) do
  local given = ARGV[FIRST + (i - 1) * STRIDE + A_RECORD]
  local record = given ~= "" and parsed_record(given)
  if record == nil then
    return bad("record", "is not a state record")
  elseif record and not records[i] then
    records[i], lost[i] = record, true
  end
end

local function fill(list, key, id, value)
  if value ~= "" and redis.call("HEXISTS", key, id) == 0 then
    list[#list + 1], list[#list + 2] = id, value
  end
end

for i, id in ipairs(ids) do
  local at, record = FIRST + (i - 1) * STRIDE, records[i]
  for _, slug in ipairs(QUEUES) do
    clear(id, slug)
  end
  replies[i] = { record and "OK" or "NOT_FOUND" }
  if record then
    put_back(id, record, lost[i], ARGV[at + A_FOUND])
    if lost[i] then
      share(record, 1)
    end
    if record[R_SHARED] ~= "" then
      fill(content[2], SCOPE_ROOT .. ":shared", record[R_SHARED], ARGV[at + A_ENVELOPE])
    else
      fill(content[1], BODY_KEY, id, ARGV[at + A_ENVELOPE])
    end
    fill(content[3], OVERLAY_KEY, id, ARGV[at + A_OVERLAY])
    fill(content[4], OUTCOME_KEY, id, ARGV[at + A_OUTCOME])
  else
    gone[#gone + 1] = id
    local place = tonumber(ARGV[at + A_IDEM]) or 0
    local key = place > 0 and KEYS[ITEM_KEYS + place]
    if key and (redis.call("GET", key) or ""):match("^%S*") == id then
      redis.call("DEL", key)
    end
  end
end
local entry = write_restored(content[1], content[2], content[3], content[4], gone)
if entry == "" then
  write_removals()
end
for _, slug in ipairs(QUEUES) do
  next_due(queue(slug))
end
return { { "OK", entry }, unpack(replies) }
