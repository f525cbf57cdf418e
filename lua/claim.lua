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
@reply OK messages... each: id, token, lease_end_ms, record, envelope, overlay, outcome
@reply EMPTY there is none
@reply MORE messages... a bound ended the call (1,000 messages, 8 MiB, a window): call again for the rest
@reply PAUSED "scope" or "queue"
@reply ARCHIVED "scope" or "queue"
@reply READONLY "queue"
@reply NOT_FOUND "scope" or "queue"
@complexity O(messages * log queue)
@journal claimed, and what settling brings
@since 0.1.0
]]
-- @arguments
-- @include ready
-- @include clock
-- @include settle
-- @include next_due
-- @include may_claim
-- @include pick
-- @include lease
-- @include read_requests
-- @include hand_out
-- @include write_leases
local MAX_MESSAGES, MAX_BYTES, SETTLE = 1000, 8388608, 100
local scope_state = redis.call("HGET", META_KEY, "state")
local open, refusal, settled = {}, nil, 0
for _, slug in ipairs(QUEUES) do
  local q = queue(slug)
  local refused = may_claim(q, scope_state)
  refusal = refusal or refused
  if not refused then
    open[#open + 1], q.taken = q, 0
    local at = redis.call("ZSCORE", DUE_KEY, q.root)
    if at and tonumber(at) <= now then
      settled, q.settled = settled + settle(q, SETTLE - settled), true
    end
  end
end

local requests, wanted = read_requests()
for _, q in ipairs(open) do
  open_window(q, math.max(1, math.floor(math.min(wanted, MAX_MESSAGES) / #open)))
end

local leased, bytes, bounded = {}, 0, settled >= SETTLE
for _, r in ipairs(requests) do
  local visibility_ms = tonumber(ARGV[r.at + A_VISIBILITY_MS])
  while #r.leases < r.want do
    local q = pick(open, A_STRATEGY)
    if not q then
      break
    end
    bytes = bytes + q.records[q.at][R_SIZE]
    if #leased > 0 and (bytes > MAX_BYTES or #leased == MAX_MESSAGES) then
      bounded = true
      break
    end
    local c = lease(q, ARGV[r.at + A_HOLDER], visibility_ms)
    leased[#leased + 1], r.leases[#r.leases + 1] = c, c
  end
end
for _, q in ipairs(open) do
  bounded = bounded or (q.more and q.at > #q.ids)
end

local entry = write_leases(leased, requests)
local replies = {}
for i, r in ipairs(requests) do
  local messages = hand_out(r.leases)
  local word = #messages > 0 and "OK" or "EMPTY"
  if bounded and #messages < r.want then
    word = "MORE"
  end
  replies[i] = #open == 0 and not r.held and refusal or { word, unpack(messages) }
  replies[i] = replies[r.same] or replies[i]
end
return { { "OK", entry }, unpack(replies) }
