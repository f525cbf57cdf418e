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
-- @include rules_for
local stored = redis.call("HMGET", STATE_KEY, unpack(IDS))
local replies, now_ended, ok = { false }, {}, {}

-- Whatever is not a claim under the very token that is given.
local function refusal_of(stored_record, given_token, caller)
  -- @include check_holder
  return check_holder(stored_record and read_record(stored_record), given_token, caller, V_COMPLETE)
end

local answers
local function answering()
  -- @include outcomes
  answers = { note = note_outcome, write = write_outcomes }
  return answers
end

for i, id in ipairs(IDS) do
  local at, raw = FIRST + (i - 1) * STRIDE, stored[i]
  if now_ended[id] then
    raw = string.char(S_COMPLETED, V_COMPLETE) .. raw:sub(3, 20) .. ("\0"):rep(6) .. raw:sub(27)
  end
  local token, holder, response = ARGV[at + A_TOKEN], ARGV[at + A_HOLDER], ARGV[at + A_RESPONSE]
  local holds = raw and raw:byte(1) == S_CLAIMED and raw:sub(3, 11) == (tokens[token] or token_bytes(token))
  local refusal, slug = not holds and refusal_of(raw, token, holder), nil
  if not refusal then
    slug = raw:sub(56, 55 + raw:byte(55))
    ok[slug] = ok[slug] or "OK completed 0 " .. slug
    now_ended[id] = true
    if response ~= "" then
      local flags = raw:byte(35)
      local rest = flags % (2 * F_OUTCOME) < F_OUTCOME and flags + F_OUTCOME or flags
      raw = raw:sub(1, 34) .. string.char(rest) .. raw:sub(36)
      answers = answers or answering()
      answers.note(id, response, "")
    end
    accept(id, raw, slug, holder)
  end
  replies[i + 1] = refusal or ok[slug]
end
-- The copies that rules ask for of what has completed.
local function copying()
  -- @include copy_completed
  return copy_completed()
end

local entry = ""
if ended[1] then
  local copied = rules_for("c") and copying()
  if copied and #IDS + copied.count > 1000 then
    -- @include split
    return split()
  end
  entry = write_completed(copied)
  if answers then
    answers.write()
  end
end
replies[1] = { "OK", entry }
return replies
