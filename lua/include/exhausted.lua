-- True when a message that was claimed so often may not be tried again.
-- @include record
-- @include settings
local function exhausted(q, record)
  local limit = record[R_RETRIES]
  if limit == QUEUES_RETRIES then
    limit = settings(q).max_retries
  end
  return record[R_ATTEMPTS] >= limit
end
