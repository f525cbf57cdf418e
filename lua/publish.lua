#!lua
--[[
publish: store new messages and index them in their queues.

@keys shard epoch journal due limits
@keys scope meta state body
@keys queue* meta pending scheduled expiry review
@keys item idem
@arg queues int(1,64) how many queues KEYS declares
@arg actor text(320) who publishes
@arg checked int(0,1) 1: the caller has made sure that every header is a JSON object in UTF-8
@item id uuid made by the caller, version 7
@item envelope envelope(16384,checked) the header, a JSON object on one line; a newline; the body's bytes, untouched, at most the shard's max_body
@item options options? what else is said of the message, a JSON object; empty: nothing
@option queue index(queues) which of the declared queues; absent: the first
@option rank int(0,5000) tier * 1000 + score; absent: 2500, normal
@option delay_ms int(0,31622400000) how long it stays out of reach
@option ttl_ms int(1,31622400000) it expires unclaimed after so long
@option deadline int(1,4102444800000) ms since 1970: order of deadline queues, and expiry
@option max_retries int(0,100) instead of the queue's
@option review_ms int(1,31622400000) it awaits a human decision, at most so long; then `hitl_spec.on_timeout` of the header holds
@option idem index its idempotency key in KEYS
@option digest text(64) of what the caller sent: the same key with another digest is a conflict
@option idem_ms int(1,2678400000) how long the idempotency key is remembered; absent: a day
@option actor text(320) instead of the call's
@option values text(16384) what rules ask of the body: a JSON object of path and value; absent: the script reads the body
@reply OK state ("completed" in a broadcast queue), and "routed" where a rule changed something; the call's own part of the reply has the time of all, ms, as its third element
@reply DUPLICATE id: the same key with the same digest, or an id that exists
@reply CONFLICT id: the same key with another digest
@reply FULL the queue's max_depth
@reply BACKLOG the rows are too far behind
@reply TOO_LARGE max_body
@reply PAUSED "scope" or "queue"
@reply DRAINING "queue"
@reply ARCHIVED "scope" or "queue"
@reply READONLY "queue"
@reply SPLIT nothing is done: with the copies that rules and subscriptions make these are more than 1,000; send fewer
@reply NOT_FOUND "scope" or "queue"
@complexity O(items * subscriptions * log queue)
@journal published broadcast dead_lettered cancelled routed transformed escalated archived breaker_tripped
@since 0.1.0
]]
-- @arguments
-- @include ready
-- @include clock
-- @include may_enter
-- @include journal
-- @include lane
local scope = redis.call("HMGET", META_KEY, "state", "rules")
local scope_state, ruled = scope[1], scope[2] and find(scope[2], " p:", 1, true)
local bounds = redis.call("HMGET", LIMITS_KEY, "backlog_limit", "published", "persisted", "max_body")
local room = tonumber(bounds[1] or 9007199254740991) - (bounds[2] or 0) + (bounds[3] or 0)
local max_body = tonumber(bounds[4] or 262144)
local queues, broadcast = {}, false
for i, slug in ipairs(QUEUES) do
  local q = queue(slug)
  queues[i], q.refusal = q, may_enter(q, scope_state, "broadcast")
  broadcast = broadcast or q.access == "broadcast"
end

-- Most messages have no options and go to a queue without a bound: what others need is defined when one comes,
-- and for all where rules are.
local special
function specialities()
  -- @include special_messages
  return { admit = admit, place = place, write = write_specials, score = score }
end
-- How many more messages this call makes: copies.
local added
if ruled or broadcast then
  -- @include special_messages
  -- @include derived_id
  -- @include rule_test
  -- @include rule_fields
  special = { admit = admit, place = place, write = write_specials, invited = invited }
  if broadcast then
    -- @include broadcast
    subscribers = { invite = invite, spread = spread, write = write_broadcast }
    subscribers.sent = function()
      return sent
    end
  end
  if ruled then
    -- @include meet_rules
    meet, routing = meet_rules, { copies = copies, spawn = spawn_copies, write = write_routing }
    special.rules = routing
  end
  special.score = score
  added = function()
    return (routing and #routing.copies or 0) + (subscribers and subscribers.sent() or 0)
  end
end

-- Of each accepted item: its place, and the queue that it goes to where it is a special one.
local known, replies, now_here = redis.call("HMGET", STATE_KEY, unpack(IDS)), { false }, {}
local accepted, places, targets = 0, {}, {}
for i, id in ipairs(IDS) do
  local o, envelope = OPTIONS[i], ARGV[FIRST + (i - 1) * STRIDE + A_ENVELOPE]
  local q = queues[o and o.queue or 1]
  local reply = q.refusal
  if not reply and #envelope > max_body and #envelope - find(envelope, "\n", 1, true) > max_body then
    reply = { "TOO_LARGE", max_body }
  end
  local duplicate = (known[i] or now_here[id]) and { "DUPLICATE", id }
  if not reply and (o or added or q.max_depth > 0) then
    special = special or specialities()
    local full = accepted + (added and added() or 0) >= room
    reply, targets[i] = special.admit(id, o or {}, q, duplicate, full, envelope)
    if added and accepted + added() > 1000 then
      break
    end
  else
    reply = reply or duplicate or (accepted >= room and { "BACKLOG" })
  end
  if not reply then
    accepted = accepted + 1
    places[accepted], now_here[id] = i, true
    if not targets[i] then
      log_plain(id, q)
    end
  end
  replies[i + 1] = reply or "OK pending"
end

local rules = special and special.rules
if added and accepted + added() > 1000 then
  -- @include split
  return split()
end
local entry = ""
if accepted > 0 then
  local seq = redis.call("HINCRBY", META_KEY, "seq", accepted) - accepted
  if rules then
    rules.spawn()
  end
  local sent_copies = added and added() - (rules and #rules.copies or 0) or 0
  local n
  entry, n = journal("p", redis.call("HINCRBY", LIMITS_KEY, "published", accepted + sent_copies))
  local records, envelopes, own = {}, {}, 0
  for k = 1, accepted do
    local i, at = places[k], 2 * k
    local id, envelope, target = IDS[i], ARGV[FIRST + (i - 1) * STRIDE + A_ENVELOPE], targets[i]
    records[at - 1] = id
    if target then
      local o = OPTIONS[i] or {}
      records[at], replies[i + 1] = special.place(id, o, queues[o.queue or 1], target, seq + k, envelope, n)
    else
      records[at] = place_plain(id, queues[1], seq + k, #envelope, n)
    end
    if not (added and special.invited[id]) then
      envelopes[own + 1], envelopes[own + 2], own = id, envelope, own + 2
    end
  end
  if special then
    special.write(records, n)
  end
  redis.call("HSET", STATE_KEY, unpack(records))
  if own > 0 then
    redis.call("HSET", BODY_KEY, unpack(envelopes))
  end
  write_lane(queues[1])
end
replies[1] = { "OK", entry, now }
return replies
