-- The waiting message that was published first: exact for fifo, for priority by the first of each rank,
-- for deadline among the first 200; delayed messages by the first 100 to become ready.
-- @include changes
-- @include load_members
local RANK_WIDTH = 1099511627776

local function first_of_each_rank(q)
  local ids, from = {}, "-inf"
  for _ = 1, 200 do
    local first =
      redis.call("ZRANGE", set_key(q, "pending"), from, "+inf", "BYSCORE", "LIMIT", 0, 1, "WITHSCORES")
    if not first[1] or #ids > 900 then
      break
    end
    from = string.format("%.0f", (math.floor(tonumber(first[2]) / RANK_WIDTH) + 1) * RANK_WIDTH)
    local taken = math.min(#changes, 99)
    for _, id in
      ipairs(
        redis.call("ZRANGE", set_key(q, "pending"), first[2], "(" .. from, "BYSCORE", "LIMIT", 0, 1 + taken)
      )
    do
      ids[#ids + 1] = id
    end
  end
  return ids
end

local function candidates(q)
  if q.ordering == "priority" then
    return first_of_each_rank(q)
  end
  return redis.call(
    "ZRANGE",
    set_key(q, "pending"),
    0,
    math.min(999, (q.ordering == "fifo" and 0 or 199) + #changes)
  )
end

local function oldest_waiting(q)
  local oldest, oldest_record
  local delayed = redis.call("ZRANGE", set_key(q, "scheduled"), 0, 99)
  for set, members in pairs({ pending = candidates(q), scheduled = delayed }) do
    local ids, records = load_members(q, set, members)
    for i, id in ipairs(ids) do
      if not changed[id] and (not oldest or records[i][R_SEQ] < oldest_record[R_SEQ]) then
        oldest, oldest_record = id, records[i]
      end
    end
  end
  return oldest, oldest_record
end
