-- Responses and failure reasons, kept beside the records until those are forgotten.
-- @include record
local outcomes = {}

local function outcome(c, response, reason)
  local n, record = #outcomes, c.record
  if bit.band(record[R_FLAGS], F_OUTCOME) == 0 then
    record[R_FLAGS] = record[R_FLAGS] + F_OUTCOME
  end
  outcomes[n + 1], outcomes[n + 2] = c.id, cmsgpack.pack({ response, reason })
end

local function write_outcomes()
  if #outcomes > 0 then
    redis.call("HSET", OUTCOME_KEY, unpack(outcomes))
  end
end
