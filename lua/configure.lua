#!lua flags=allow-oom
--[[
configure: settings that the scripts obey, for a scope or one of its queues. The rows hold them first.

@keys shard epoch due
@keys scope meta
@keys queue* meta pending scheduled claimed expiry review
@arg queues int(0,1) 0: the scope's own settings, 1: those of the declared queue
@arg version int(1,9007199254740991) rises with every change in the rows
@item field word(state,ordering,mode,max_depth,overflow,max_retries,visibility_ms,backoff,require_token,aging,access) the setting
@item value text(200)? empty: the default; for state also "removed", which takes an empty queue away
@reply OK
@reply CONFLICT version: a newer one is in force
@reply INVALID_STATE live: messages remain in the queue that is to be removed
@complexity O(1)
@journal none: the rows are written first
@since 0.1.0
]]
-- @arguments
-- @include queue
local q = QUEUES[1] and queue(QUEUES[1])
local key = q and q.root .. ":meta" or META_KEY
local current = tonumber(redis.call("HGET", key, "version") or 0)
if current > tonumber(A_VERSION) then
  return { { "OK", "" }, { "CONFLICT", current } }
end
local set, unset, state = { "version", A_VERSION }, {}, nil
for at = FIRST, #ARGV, STRIDE do
  local field, value = ARGV[at + A_FIELD], ARGV[at + A_VALUE]
  if field == "state" then
    state = value
  end
  if value == "" then
    unset[#unset + 1] = field
  else
    set[#set + 1], set[#set + 2] = field, value
  end
end
if state == "removed" then
  local live = 0
  for _, name in ipairs(q and { "pending", "scheduled", "claimed", "review" } or {}) do
    live = live + redis.call("ZCARD", set_key(q, name))
  end
  if live > 0 then
    return { { "OK", "" }, { "INVALID_STATE", live } }
  end
  redis.call("DEL", key)
  if q then
    redis.call("DEL", q.root .. ":subscriptions")
    redis.call("ZREM", DUE_KEY, q.root)
  end
  return { { "OK", "" }, { "OK" } }
end
redis.call("HSET", key, unpack(set))
if #unset > 0 then
  redis.call("HDEL", key, unpack(unset))
end
if q and state == "active" then
  redis.call("PUBLISH", SHARD_ROOT .. ":wake", q.root)
end
return { { "OK", "" }, { "OK" } }
