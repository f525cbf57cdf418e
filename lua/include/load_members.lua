-- Members of a queue's set with their records. A member whose record says it is elsewhere is removed.
-- @include record
-- @include queue
-- @include load_records
local function belongs(record, q, set)
  if not record or record[R_QUEUE] ~= q.slug then
    return false
  elseif set == "expiry" then
    return record[R_EXPIRES] > 0 and record[R_STATE] ~= S_CLAIMED and SETS[record[R_STATE]] ~= nil
  end
  return SETS[record[R_STATE]] == set
end

local function load_members(q, set, ids)
  local known, records = {}, {}
  for i, record in ipairs(load_records(ids)) do
    if belongs(record, q, set) then
      known[#known + 1], records[#records + 1] = ids[i], record
    else
      redis.call("ZREM", set_key(q, set), ids[i])
    end
  end
  return known, records
end
