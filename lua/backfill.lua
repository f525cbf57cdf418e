#!lua
--[[
backfill: copies, for one subscription, of messages that were published before it was there. Called by the API
alone, with what the rows hold of them.

@keys shard epoch journal due limits
@keys scope meta state
@keys queue meta pending scheduled expiry review
@arg subscription slug the queue of the subscription
@arg actor text(320) who asks
@item id uuid the message
@item record bytes its state record
@item envelope bytes header, newline, body
@item overlay bytes? what rules changed
@reply OK id: of the copy
@reply KEPT it is not wanted, has expired, or its copy is there
@reply NOT_FOUND "subscription"
@complexity O(items * log queue)
@journal published
@since 0.2.0
]]
-- @arguments
-- @include ready
-- @include clock
-- @include journal
-- @include score
-- @include parsed_record
-- @include object_text
-- @include subscriptions
-- @include copies
-- @include shares
local q, mine = queue(QUEUES[1]), nil
local program = subscriptions(q)
for at = 1, #program.list, 4 do
  if program.list[at] == A_SUBSCRIPTION then
    mine = at
  end
end

local records, copy_ids = {}, {}
for i, id in ipairs(IDS) do
  local record = parsed_record(ARGV[FIRST + (i - 1) * STRIDE + A_RECORD])
  if not record then
    return bad("record", "is not a state record")
  end
  records[i], copy_ids[i] = record, derived_id(id, mine and program.list[mine + 1] or "", "broadcast")
end
local there = redis.call("HMGET", STATE_KEY, unpack(copy_ids))

-- True where the subscription is to have it.
local function wanted(id, record, envelope, overlay)
  local m = { id = id, envelope = envelope, rank = record[R_RANK], attempts = 0, queue = q.slug }
  m.overlay = overlay ~= "" and decoded(overlay) or nil
  local first, expires = program.list[mine + 2], record[R_EXPIRES]
  return (expires == 0 or expires > now) and (first == 0 or wants(program, first, m, {}, {}))
end

local replies, chosen, shared, overlays = { false }, {}, {}, {}
for i, id in ipairs(IDS) do
  local at, record, copy = FIRST + (i - 1) * STRIDE, records[i], copy_ids[i]
  local envelope, overlay = ARGV[at + A_ENVELOPE], ARGV[at + A_OVERLAY]
  if not mine then
    replies[i + 1] = { "NOT_FOUND", "subscription" }
  elseif there[i] or not wanted(id, record, envelope, overlay) then
    replies[i + 1] = { "KEPT" }
  else
    chosen[#chosen + 1] = i
    log_copy(copy, A_SUBSCRIPTION, A_ACTOR)
    shared[#shared + 1], shared[#shared + 2] = id, envelope
    if overlay ~= "" then
      overlays[#overlays + 1], overlays[#overlays + 2] = copy, overlay
    end
    replies[i + 1] = { "OK", copy }
  end
end
replies[1] = { "OK", "" }
if #chosen == 0 then
  return replies
end
local entry, n = journal("p", redis.call("HINCRBY", LIMITS_KEY, "published", #chosen))
for _, i in ipairs(chosen) do
  local record = records[i]
  record[R_STATE], record[R_VERB], record[R_DUE], record[R_ATTEMPTS] = S_PENDING, V_NONE, 0, 0
  record[R_EPOCH], record[R_N], record[R_UPDATED], record[R_SHARED] = epoch, n, now, IDS[i]
  record[R_TOKEN_EPOCH], record[R_TOKEN], record[R_HOLDER], record[R_ORIGIN] = 0, 0, "", ""
  record[R_FLAGS] = bit.band(record[R_FLAGS], F_OVERLAY)
  share(record, 1)
  place_copies(record, { A_SUBSCRIPTION, copy_ids[i] }, "pending", score(queue(A_SUBSCRIPTION), record))
end
redis.call("HSET", STATE_KEY, unpack(copy_records))
redis.call("HSET", SCOPE_ROOT .. ":shared", unpack(shared))
if #overlays > 0 then
  redis.call("HSET", SCOPE_ROOT .. ":overlay", unpack(overlays))
end
write_additions()
write_shares()
replies[1] = { "OK", entry }
return replies
