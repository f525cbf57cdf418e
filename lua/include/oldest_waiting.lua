-- The waiting messages of a queue, one after the other as they were published: exact for fifo, for priority by
-- the first of each rank, for deadline among the first 200; delayed messages by the first to become ready.
-- @include load_members
local RANK_WIDTH = 1099511627776

-- `most`: how many of them this call may ask for.
local function first_of_each_rank(pending, most)
  local ids, from = {}, "-inf"
  for _ = 1, 200 do
    local first = redis.call("ZRANGE", pending, from, "+inf", "BYSCORE", "LIMIT", 0, 1, "WITHSCORES")
    if not first[1] or #ids > 2000 then
      break
    end
    from = string.format("%.0f", (math.floor(tonumber(first[2]) / RANK_WIDTH) + 1) * RANK_WIDTH)
    for _, id in ipairs(redis.call("ZRANGE", pending, first[2], "(" .. from, "BYSCORE", "LIMIT", 0, most)) do
      ids[#ids + 1] = id
    end
  end
  return ids
end

local function by_age(q)
  local most, found, key = (#ARGV - FIRST + 1) / STRIDE, {}, set_key(q, "pending")
  local members = { scheduled = redis.call("ZRANGE", set_key(q, "scheduled"), 0, 99 + most) }
  if q.ordering == "priority" then
    members.pending = first_of_each_rank(key, most)
  else
    local window = math.min(1000, (q.ordering == "fifo" and 0 or 200) + most)
    members.pending = redis.call("ZRANGE", key, 0, window - 1)
  end
  for set, listed in pairs(members) do
    local ids, records = load_members(q, set, listed)
    for i, id in ipairs(ids) do
      found[#found + 1] = { id = id, record = records[i] }
    end
  end
  table.sort(found, function(a, b)
    return a.record[R_SEQ] < b.record[R_SEQ]
  end)
  return found
end

local function oldest_waiting(q)
  q.oldest = q.oldest or by_age(q)
  local oldest = table.remove(q.oldest, 1) or {}
  return oldest.id, oldest.record
end
