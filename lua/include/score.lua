-- A message's place in `pending`: an exact integer below 2^53, lowest first.
-- @include effective_rank
local function score(q, record)
  local ordering, seq = settings(q).ordering, record[R_SEQ]
  if ordering == "priority" then
    return (5000 - effective_rank(q, record)) * 1099511627776 + seq % 1099511627776
  elseif ordering == "deadline" and record[R_DEADLINE] > 0 then
    return record[R_DEADLINE] * 2048 + seq % 2048
  elseif ordering == "deadline" then
    return 9007199254740992 - 4398046511104 + seq
  end
  return seq
end
