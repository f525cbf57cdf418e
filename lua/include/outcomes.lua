-- Responses and failure reasons, kept beside the records until those are forgotten.
-- @include record
local outcomes = {}

local function note_outcome(id, response, reason)
  local n = #outcomes
  outcomes[n + 1], outcomes[n + 2] = id, cmsgpack.pack({ response, reason })
end

local function outcome(c, response, reason)
  local record = c.record
  if bit.band(record[R_FLAGS], F_OUTCOME) == 0 then
    record[R_FLAGS] = record[R_FLAGS] + F_OUTCOME
  end
  note_outcome(c.id, response, reason)
end

local function write_outcomes()
  if #outcomes > 0 then
    redis.call("HSET", OUTCOME_KEY, unpack(outcomes))
  end
end
