#!lua flags=allow-oom
--[[
purge: cancel what waits in a queue; claimed messages stay.

@keys shard epoch journal due
@keys scope meta state
@keys queue meta pending scheduled expiry review
@arg limit int(1,1000) at most so many this call
@arg actor text(320) who asks
@reply OK count: nothing is left
@reply MORE count: call again
@complexity O(limit * log queue)
@journal cancelled
@since 0.1.0
]]
-- @arguments
-- @include ready
-- @include clock
-- @include load_records
-- @include commit
local q, limit = queue(QUEUES[1]), tonumber(A_LIMIT)
local word = "OK"
for _, set in ipairs({ "pending", "scheduled", "review" }) do
  local ids = redis.call("ZRANGE", set_key(q, set), 0, limit - #changes)
  if #changes + #ids > limit then
    word, ids[#ids] = "MORE", nil
  end
  local records = load_records(ids)
  for i, id in ipairs(ids) do
    local c = change(id, records[i], q, set)
    finish(c, S_CANCELLED)
    event(c, "cancelled", A_ACTOR, "purged")
  end
end
return { { "OK", commit() }, { word, #changes } }
