-- The rank that a message has by its age where a queue ages priorities; 5000 is the top.
-- @include record
-- @include settings
local function effective_rank(q, record)
  if settings(q).aging == "" then
    return record[R_RANK]
  end
  if not q.age_after then
    local after, step, every = q.aging:match("^(%d+) (%d+) (%d+)$")
    q.age_after, q.age_step, q.age_every = tonumber(after), tonumber(step), tonumber(every)
  end
  local over = now - record[R_CREATED] - q.age_after
  if over < 0 then
    return record[R_RANK]
  end
  return math.min(5000, record[R_RANK] + q.age_step * (1 + math.floor(over / q.age_every)))
end
