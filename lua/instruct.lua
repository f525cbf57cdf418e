#!lua flags=allow-oom
--[[
instruct: the routing rules of a scope, compiled, for the scripts to obey. The rows hold them first.

@keys shard epoch
@keys scope meta rules
@arg version int(1,9007199254740991) rises with every change of the scope's rules
@arg index text(200)? hops at most, matches at most, and of each trigger where its rules lie in the program; empty: no rules
@arg program bytes? the rules, compiled
@items 0
@item rule uuid a rule whose breaker closes
@reply OK
@reply CONFLICT version: newer ones are in force
@complexity O(items)
@journal none: the rows are written first
@since 0.2.0
]]
-- @arguments
local current = tonumber(redis.call("HGET", META_KEY, "rules_version") or 0)
local replies = { { "OK", "" } }
if current > tonumber(A_VERSION) then
  replies[2] = { "CONFLICT", current }
  return replies
end
redis.call("HSET", META_KEY, "rules_version", A_VERSION)
if A_INDEX == "" then
  redis.call("HDEL", META_KEY, "rules")
  redis.call("DEL", RULES_KEY)
else
  redis.call("HSET", META_KEY, "rules", A_VERSION .. " " .. A_INDEX)
  redis.call("SET", RULES_KEY, A_PROGRAM)
end
if IDS[1] then
  redis.call("HDEL", SCOPE_ROOT .. ":breakers", unpack(IDS))
end
replies[2] = { "OK" }
return replies
