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
@reply SPLIT nothing is done: with the copies that rules make these are more than 1,000; send fewer
@reply NOT_FOUND not in the index: the rows may know it
@complexity O(items)
@journal completed routed published
@since 0.1.0
]]
-- @arguments
-- @include ready
-- @include clock
-- @include token_bytes
-- @include complete_claims
local stored = redis.call("HMGET", STATE_KEY, unpack(IDS))
local replies, now_ended, ok = { false }, {}, {}

local answers
for i, message in ipairs(IDS) do
  local first, packed = FIRST + (i - 1) * STRIDE, stored[i]
  if now_ended[message] then
    packed = string.char(S_COMPLETED, V_COMPLETE) .. packed:sub(3, 20) .. ("\0"):rep(6) .. packed:sub(27)
  end
  local given, asker, answer = ARGV[first + A_TOKEN], ARGV[first + A_HOLDER], ARGV[first + A_RESPONSE]
  local holds = packed
    and packed:byte(1) == S_CLAIMED
    and packed:sub(3, 11) == (tokens[given] or token_bytes(given))
  local refusal, from
  if not holds then
    -- @include check_holder
    refusal = check_holder(packed and read_record(packed), given, asker, V_COMPLETE)
  end
  if not refusal then
    from = packed:sub(56, 55 + packed:byte(55))
    ok[from] = ok[from] or "OK completed 0 " .. from
    now_ended[message] = true
    if answer ~= "" then
      local flags = packed:byte(35)
      local rest = flags % (2 * F_OUTCOME) < F_OUTCOME and flags + F_OUTCOME or flags
      packed = packed:sub(1, 34) .. string.char(rest) .. packed:sub(36)
      if not answers then
        -- @include outcomes
        answers = { note = note_outcome, write = write_outcomes }
      end
      answers.note(message, answer, "")
    end
    accept(message, packed, from, asker)
  end
  replies[i + 1] = refusal or ok[from]
end
local entry = ""
if ended[1] then
  local extra, rules = nil, redis.call("HGET", META_KEY, "rules")
  if rules and find(rules, " c:", 1, true) then
    -- @include copy_completed
    extra = copy_completed()
    if #IDS + extra.count > 1000 then
      -- @include split
      return split()
    end
  end
  entry = write_completed(extra)
  if answers then
    answers.write()
  end
end
replies[1] = { "OK", entry }
return replies
