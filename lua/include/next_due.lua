-- Sets a queue's entry in the due index to the next instant at which something in it falls due.
-- @include queue
local function next_due(q)
  local soonest
  for _, set in ipairs({ "claimed", "scheduled", "expiry", "review" }) do
    local head = redis.call("ZRANGE", set_key(q, set), 0, 0, "WITHSCORES")[2]
    if head and (not soonest or tonumber(head) < soonest) then
      soonest = tonumber(head)
    end
  end
  if soonest then
    redis.call("ZADD", DUE_KEY, soonest, q.root)
  else
    redis.call("ZREM", DUE_KEY, q.root)
  end
end
