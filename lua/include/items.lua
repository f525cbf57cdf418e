-- The ids that this call's items name, with their records.
-- @include load_records
local function items()
  return IDS, load_records(IDS)
end
