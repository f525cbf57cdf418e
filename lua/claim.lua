#!lua flags=allow-oom
--[[
claim: lease the next messages of one or more queues. What is overdue in them returns first.

@keys shard epoch journal due
@keys scope meta state body overlay outcome
@keys queue* meta pending scheduled claimed expiry review
@keys item claim
@arg queues int(1,64) how many queues KEYS declares
@arg strategy word(ordered,oldest,fair) which of several queues goes first: as given, by publish order, by turns
@item holder text(320) who claims: principal, or principal/consumer
@item want int(1,1000) messages at most
@item visibility_ms int(1,43200000)? length of the lease; empty: the queue's
@item claim index? the request's claim key in KEYS: the same key within the lease returns the same leases
@reply OK token lease_end_ms extras messages... the first lease's end; extras: an array of id, overlay, outcome of those that have one; of each message id, record, envelope
@reply EMPTY there is none
@reply MORE as OK, or alone: a bound ended the call (1,000 messages, 8 MiB, a window): call again for the rest
@reply PAUSED "scope" or "queue"
@reply ARCHIVED "scope" or "queue"
@reply READONLY "queue": also a broadcast queue, whose copies are in the queues of its subscriptions
@reply NOT_FOUND "scope" or "queue"
@complexity O(messages * log queue)
@journal claimed, and what settling brings
@since 0.1.0
]]
-- @arguments
-- @include ready
-- @include clock
-- @include may_claim
-- @include journal
-- @include claim_window
-- @include take
-- @include write_leases
-- @include hand_out
local MAX_MESSAGES, MAX_BYTES, SETTLE = 1000, 8388608, 100
local scope_state = redis.call("HGET", META_KEY, "state")
local open, refusal, settled = {}, nil, 0

-- What time has brought to messages changes them in this call: that part is defined when there is something.
function settling()
  -- @include settle
  -- @include next_due
  -- @include claim_changes
  changing =
    { changed = changed, settle = settle, expire = expire_head, merge = merge_returned, next_due = next_due }
  changing.spawn = spawn_for_rules
  changing.gather, changing.removals, changing.additions = gather_changes, write_removals, write_additions
  settling = function()
    return changing
  end
  return changing
end

for _, slug in ipairs(QUEUES) do
  local q = queue(slug)
  local refused = may_claim(q, scope_state)
  refusal = refusal or refused
  if not refused then
    open[#open + 1], q.taken = q, 0
    local at = redis.call("ZSCORE", DUE_KEY, q.root)
    if at and tonumber(at) <= now then
      settled, q.settled = settled + settling().settle(q, SETTLE - settled), true
    end
  end
end

local requests, by_key, wanted = {}, {}, 0
local function keyed(request, key_index)
  -- @include keyed_request
  read_keyed_request(request, key_index)
end
for at = FIRST, #ARGV, STRIDE do
  local r =
    { holder = ARGV[at + A_HOLDER], want = tonumber(ARGV[at + A_WANT]), count = 0, runs = {}, full = false }
  r.visibility_ms = tonumber(ARGV[at + A_VISIBILITY_MS])
  local index = ARGV[at + A_CLAIM]
  if index ~= "" and index ~= "0" then
    keyed(r, index)
  end
  requests[#requests + 1] = r
  wanted = wanted + r.want
end
for _, q in ipairs(open) do
  q.size = math.max(1, math.floor(math.min(wanted, MAX_MESSAGES) / #open))
  next_window(q)
end

local leased, bytes, full = 0, 0, false
local pick_queue
if #open > 1 then
  -- @include pick
  pick_queue = pick
end
for _, r in ipairs(requests) do
  while r.count < r.want and not full do
    local q = open[1]
    if #open > 1 then
      q = pick_queue(open, A_STRATEGY)
    end
    if not q or not has_next(q) then
      break
    end
    local most = (#open == 1 or A_STRATEGY == "ordered") and r.want - r.count or 1
    local size, n = take(q, r, math.min(most, MAX_MESSAGES - leased), MAX_BYTES - bytes, leased == 0)
    bytes, leased = bytes + size, leased + n
    full = r.full or leased == MAX_MESSAGES
  end
end
local bounded = full or settled >= SETTLE
for _, q in ipairs(open) do
  bounded = bounded or (q.more and q.at > #q.ids)
end

local entry = write_leases(requests, open)
local replies = { { "OK", entry } }
for i, r in ipairs(requests) do
  local reply = #open == 0 and not r.held and refusal or hand_out(r)
  if bounded and r.count < r.want and (reply[1] == "OK" or reply[1] == "EMPTY") then
    reply[1] = "MORE"
  end
  replies[i + 1] = r.same and replies[r.same + 1] or reply
end
return replies
