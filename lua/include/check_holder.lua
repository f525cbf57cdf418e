-- Whether the caller may end or extend this claim: nil if so, else the item's reply.
-- Repeating the verb that succeeded with the token is answered OK again.
-- @include record
-- @include settings
local function check_holder(record, token, holder, verb)
  if not record then
    return { "NOT_FOUND" }
  end
  local state = record[R_STATE]
  if state == S_CLAIMED then
    if token == "" then
      if record[R_HOLDER] ~= holder or settings(queue(record[R_QUEUE])).require_token then
        return { "CLAIM_LOST" }
      end
    elseif token ~= record[R_TOKEN] then
      return { "CLAIM_LOST" }
    end
    return nil
  elseif token ~= "" and token == record[R_TOKEN] and verb == record[R_VERB] then
    return { "OK", STATES[state], record[R_DUE], record[R_QUEUE] }
  elseif token ~= "" and token ~= record[R_TOKEN] then
    return { "CLAIM_LOST" }
  elseif state < S_COMPLETED and token ~= "" then
    return { "CLAIM_LOST" }
  end
  return { "INVALID_STATE", STATES[state] }
end
