#!lua
--[[
publish: store new messages and index them in their queues.

@keys shard epoch journal due limits
@keys scope meta state body
@keys queue* meta pending scheduled expiry review
@keys item idem
@arg queues int(1,64) how many queues KEYS declares
@item id uuid made by the caller, version 7
@item queue index(queues) which of the declared queues
@item actor text(320) who publishes
@item header object(16384,checked) the message's immutable header, JSON
@item body bytes its content, untouched; at most the shard's max_body bytes
@item rank int(0,5000)? tier * 1000 + score; empty: 2500, normal
@item delay_ms int(0,31622400000)? how long it stays out of reach
@item ttl_ms int(1,31622400000)? it expires unclaimed after so long
@item deadline int(1,4102444800000)? ms since 1970: order of deadline queues, and expiry
@item max_retries int(0,100)? instead of the queue's
@item review_ms int(1,31622400000)? it awaits a human decision, at most so long
@item idem index? its idempotency key in KEYS
@item digest text(64)? of what the caller sent: the same key with another digest is a conflict
@item idem_ms int(1,2678400000)? how long the idempotency key is remembered; empty: a day
@item checked int(0,1)? 1: the caller has made sure that the header is a JSON object in UTF-8
@reply OK id seq state created_at
@reply DUPLICATE id: the same key with the same digest, or an id that exists
@reply CONFLICT id: the same key with another digest
@reply FULL the queue's max_depth
@reply BACKLOG the rows are too far behind
@reply TOO_LARGE max_body
@reply PAUSED "scope" or "queue"
@reply DRAINING "queue"
@reply ARCHIVED "scope" or "queue"
@reply READONLY "queue"
@reply NOT_FOUND "scope" or "queue"
@complexity O(items * log queue)
@journal published dead_lettered cancelled
@since 0.1.0
]]
-- @arguments
-- @include ready
-- @include clock
-- @include may_enter
-- @include commit
-- @include bury
-- @include duplicates
-- @include make_room
-- @include new_messages
local scope_state = redis.call("HGET", META_KEY, "state")
local limits = redis.call("HMGET", LIMITS_KEY, "backlog_limit", "published", "persisted", "max_body")
local room = tonumber(limits[1] or 9007199254740991) - (limits[2] or 0) + (limits[3] or 0)
local max_body = tonumber(limits[4] or 262144)
local queues = {}
for i, slug in ipairs(QUEUES) do
  local q = queue(slug)
  queues[tostring(i)], q.refusal = q, may_enter(q, scope_state)
end

-- Of each accepted item: where its arguments begin, its queue, and its place among the replies.
local known, replies = load_ids(), { false }
local begins, targets, places, accepted = {}, {}, {}, 0
for at = FIRST, #ARGV, STRIDE do
  local id, q = ARGV[at + A_ID], queues[ARGV[at + A_QUEUE]]
  local reply = q.refusal or (#ARGV[at + A_BODY] > max_body and { "TOO_LARGE", max_body })
  reply = reply or duplicate(known, id, at) or (accepted >= room and { "BACKLOG" })
  local target = q
  if not reply and q.max_depth > 0 then
    target = make_room(q, ARGV[at + A_REVIEW_MS] == "")
    reply = not target and { "FULL" }
  end
  replies[#replies + 1] = reply
  if not reply then
    accepted = accepted + 1
    begins[accepted], targets[accepted], places[accepted] = at, target, #replies
    known[id] = true
    remember_key(id, at)
  end
end

local entry = ""
if accepted > 0 then
  local published = redis.call("HINCRBY", LIMITS_KEY, "published", accepted)
  entry = store(begins, targets, places, replies, published)
  write_keys()
end
replies[1] = { "OK", entry }
return replies
