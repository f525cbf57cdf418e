-- The leases that a claim id was given and that still hold; nil where there are none.
-- @include load_records
local function replay_claim(key)
  local given = redis.call("GET", key)
  if not given then
    return nil
  end
  given = cmsgpack.unpack(given)
  local ids, held = {}, {}
  for i = 1, #given, 2 do
    ids[#ids + 1] = given[i]
  end
  for i, record in ipairs(load_records(ids)) do
    if record and record[R_STATE] == S_CLAIMED and record[R_TOKEN] == given[2 * i] then
      held[#held + 1] = { id = ids[i], record = record }
    end
  end
  return held[1] and held
end
