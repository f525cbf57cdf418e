-- A record's claim token as callers know it: `epoch.counter`.
-- @include record
local function token_text(record)
  return string.format("%.0f.%.0f", record[R_TOKEN_EPOCH], record[R_TOKEN])
end
