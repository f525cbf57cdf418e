-- One more call of a key with a rate limit, by the generic cell rate algorithm.
-- KEYS: when the calls so far would have come at the even rate, in microseconds.
-- ARGV: microseconds between two calls at the even rate; how many may come at once.
-- Returns whether it may be made, how many more may be now, microseconds until one may, and until all may again.
local time = redis.call("TIME")
local now = time[1] * 1000000 + time[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local due = math.max(tonumber(redis.call("GET", KEYS[1]) or 0), now)
local after = due + interval
local early = after - burst * interval - now
if early > 0 then
  return { 0, 0, early, due - now }
end
redis.call("SET", KEYS[1], string.format("%.0f", after), "PX", math.ceil((after - now) / 1000))
return { 1, math.floor(-early / interval), 0, after - now }
