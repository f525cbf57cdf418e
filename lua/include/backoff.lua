-- How long a failed message waits, in ms: the queue's backoff, with full jitter unless it says none.
-- @include settings
-- Each call draws from the clock's microseconds: scripts begin with the same random state every time.
math.randomseed(A_NOW ~= "" and now % 2147483647 or tonumber(time[2]))

local function backoff(q, attempts)
  local strategy, base, factor, max, jitter = settings(q).backoff:match("^(%a+) (%d+) ([%d.]+) (%d+) (%a+)$")
  base, factor, max = tonumber(base), tonumber(factor), tonumber(max)
  local delay = base
  if strategy == "linear" then
    delay = base * attempts
  elseif strategy == "exponential" then
    delay = base * factor ^ (attempts - 1)
  end
  delay = math.floor(math.min(delay, max))
  if jitter == "full" and delay > 0 then
    return math.random(0, delay)
  end
  return delay
end
