-- The ids that this call's items name, with their records.
-- @include load_records
local function items()
  local ids = {}
  for at = FIRST, #ARGV, STRIDE do
    ids[#ids + 1] = ARGV[at + A_ID]
  end
  return ids, load_records(ids)
end
