-- The records of up to 1,000 ids, read, in their order; false where there is none.
-- An id asked for twice is one table, so that a batch sees what its earlier items decided.
-- @include record_table
local records_by_id = {}

local function load_records(ids)
  if #ids == 0 then
    return {}
  end
  local records = redis.call("HMGET", STATE_KEY, unpack(ids))
  for i, id in ipairs(ids) do
    records[i] = records_by_id[id] or (records[i] and read_record(records[i]))
    records_by_id[id] = records[i]
  end
  return records
end
