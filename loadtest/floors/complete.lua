-- The least that checks the fence and ends messages. KEYS: body claimed meta journal; ARGV: ids.
local held = redis.call("ZMSCORE", KEYS[2], unpack(ARGV))
for i = 1, #held do
  if not held[i] then
    return 0
  end
end
redis.call("ZREM", KEYS[2], unpack(ARGV))
redis.call("HDEL", KEYS[1], unpack(ARGV))
redis.call("HINCRBY", KEYS[3], "done", #ARGV)
redis.call("XADD", KEYS[4], "*", "op", "complete", "ids", table.concat(ARGV))
return #ARGV
