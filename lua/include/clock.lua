-- The one clock, read once, in ms. A caller's time counts only where a test server allows it.
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if A_NOW ~= "" then
  if redis.call("HGET", SHARD_ROOT .. ":limits", "test_clock") ~= "1" then
    return bad("now", "only a test server takes a caller's time")
  end
  now = tonumber(A_NOW)
end
