-- A rule that matches too often within a window rests: its breaker is open, and it is passed over. After the rest it
-- may act a tenth as often for one window, half-open; if that is enough, the breaker closes.
-- @include rule_program
local WINDOW, REST = 10000, 30000
local breakers = {}

local function breaker_of(rule)
  local b = breakers[rule.id]
  if not b then
    local text = redis.call("HGET", SCOPE_ROOT .. ":breakers", rule.id) or ""
    local state, since, count = text:match("^(%S+) (%d+) (%d+)$")
    b = { state = state or "closed", since = tonumber(since or now), count = tonumber(count or 0) }
    breakers[rule.id] = b
  end
  return b
end

-- True where the rule may act; counts that. The second value: its breaker has just opened.
local function may_act(rule)
  local b, _, most = breaker_of(rule), rule_limits()
  if b.state == "open" and now - b.since < REST then
    return false, false
  elseif b.state == "open" then
    b.state, b.since, b.count = "half-open", now, 0
  elseif now - b.since >= WINDOW then
    b.state, b.since, b.count = "closed", now, 0
  end
  if b.count >= (b.state == "closed" and most or math.ceil(most / 10)) then
    b.state, b.since, b.count = "open", now, 0
    return false, true
  end
  b.count = b.count + 1
  return true, false
end

local function write_breakers()
  for id, b in pairs(breakers) do
    redis.call(
      "HSET",
      SCOPE_ROOT .. ":breakers",
      id,
      string.format("%s %.0f %.0f", b.state, b.since, b.count)
    )
  end
end
