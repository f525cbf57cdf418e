#!lua flags=allow-oom
--[[
subscribe: the subscriptions of a broadcast queue, compiled, for publish to obey. The rows hold them first.

@keys shard epoch
@keys scope meta
@keys queue meta subscriptions
@arg version int(1,9007199254740991) rises with every change of the queue's subscriptions
@arg program bytes? the subscriptions, compiled; empty: there are none
@reply OK seq: messages up to this number were published without regard to them, later ones are not
@reply CONFLICT version: newer ones are in force
@complexity O(1)
@journal none: the rows are written first
@since 0.2.0
]]
-- @arguments
-- @include queue
local q = queue(QUEUES[1])
local meta, key = set_key(q, "meta"), set_key(q, "subscriptions")
local current = tonumber(redis.call("HGET", meta, "subscriptions_version") or 0)
if current > tonumber(A_VERSION) then
  return { { "OK", "" }, { "CONFLICT", current } }
end
redis.call("HSET", meta, "subscriptions_version", A_VERSION)
if A_PROGRAM == "" then
  redis.call("DEL", key)
else
  redis.call("SET", key, A_PROGRAM)
end
return { { "OK", "" }, { "OK", tonumber(redis.call("HGET", META_KEY, "seq") or 0) } }
