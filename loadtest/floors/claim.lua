-- The least that pops, leases and fetches. KEYS: body pending claimed meta journal; ARGV: n, lease end.
local popped = redis.call("ZPOPMIN", KEYS[2], ARGV[1])
local ids, leases = {}, {}
for i = 1, #popped, 2 do
  local id = popped[i]
  ids[#ids + 1] = id
  leases[i], leases[i + 1] = ARGV[2], id
end
redis.call("ZADD", KEYS[3], unpack(leases))
redis.call("HINCRBY", KEYS[4], "token", #ids)
redis.call("XADD", KEYS[5], "*", "op", "claim", "ids", table.concat(ids))
return { ids, redis.call("HMGET", KEYS[1], unpack(ids)) }
