-- Refuses the call unless the index is whole and of the epoch the caller believes in.
local epoch = redis.call("GET", EPOCH_KEY)
if not epoch or (A_EPOCH ~= "" and A_EPOCH ~= epoch) then
  return { { "NOT_READY" } }
end
