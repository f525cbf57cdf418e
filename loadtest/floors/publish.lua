-- The least that stores, orders and journals messages. KEYS: body pending meta journal; ARGV: n, then id, body pairs, then score, id pairs, then
-- the ids joined.
local n = tonumber(ARGV[1])
redis.call("HSET", KEYS[1], unpack(ARGV, 2, 2 * n + 1))
redis.call("ZADD", KEYS[2], unpack(ARGV, 2 * n + 2, 4 * n + 1))
redis.call("HINCRBY", KEYS[3], "seq", n)
return redis.call("XADD", KEYS[4], "*", "op", "publish", "ids", ARGV[4 * n + 2])
