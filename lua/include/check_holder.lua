-- Whether the caller may end or extend this claim: nil if so, else the item's reply.
-- Repeating the verb that succeeded with the token is answered OK again.
-- @include record_table
-- @include settings
-- @include token_text
local function check_holder(record, token, holder, verb)
  if not record then
    return { "NOT_FOUND" }
  end
  local state = record[R_STATE]
  local current = token ~= "" and record[R_TOKEN_EPOCH] > 0 and token == token_text(record)
  if state == S_CLAIMED then
    local held = current
    if token == "" then
      held = record[R_HOLDER] == holder and not settings(queue(record[R_QUEUE])).require_token
    end
    return not held and { "CLAIM_LOST" } or nil
  elseif current and verb == record[R_VERB] then
    return { "OK", STATES[state], record[R_DUE], record[R_QUEUE] }
  elseif token ~= "" and (not current or state < S_COMPLETED) then
    return { "CLAIM_LOST" }
  end
  return { "INVALID_STATE", STATES[state] }
end
