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
@item header object(16384) the message's immutable header, JSON
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
-- @include load_records
-- @include may_enter
-- @include commit
-- @include bury
-- @include duplicates
-- @include make_room
-- @include new_record
local scope_state = redis.call("HGET", META_KEY, "state")
local limits = redis.call("HMGET", LIMITS_KEY, "backlog_limit", "published", "persisted", "max_body")
local room = tonumber(limits[1] or 9007199254740991) - (limits[2] or 0) + (limits[3] or 0)
local max_body = tonumber(limits[4] or 262144)

local accepted, replies, envelopes = {}, {}, {}
local known = load_ids()
for at = FIRST, #ARGV, STRIDE do
  local id, q = ARGV[at + A_ID], queue(QUEUES[tonumber(ARGV[at + A_QUEUE])])
  local reply = may_enter(q, scope_state)
  if not reply and #ARGV[at + A_BODY] > max_body then
    reply = { "TOO_LARGE", max_body }
  end
  reply = reply or duplicate(known, id, at)
  if not reply and #accepted >= room then
    reply = { "BACKLOG" }
  end
  if not reply then
    local admitted, target = make_room(q, ARGV[at + A_REVIEW_MS] == "")
    if admitted then
      accepted[#accepted + 1] = { id = id, at = at, q = q, target = target, place = #replies + 1 }
      known[id] = id
      remember_key(id, at)
    else
      reply = { "FULL" }
    end
  end
  replies[#replies + 1] = reply or false
end

local entry = ""
if #accepted > 0 then
  local seq = redis.call("HINCRBY", META_KEY, "seq", #accepted) - #accepted
  for i, m in ipairs(accepted) do
    local c, envelope = new_record(m, seq + i)
    envelopes[2 * i - 1], envelopes[2 * i] = m.id, envelope
    replies[m.place] = { "OK", m.id, seq + i, STATES[c.record[R_STATE]], now }
  end
  entry = commit("p", redis.call("HINCRBY", LIMITS_KEY, "published", #accepted))
  redis.call("HSET", BODY_KEY, unpack(envelopes))
  write_keys()
end
return { { "OK", entry }, unpack(replies) }
