-- The record that a packed one reads as; nil where it is none.
-- @include record_table
local function parsed_record(raw)
  local ok, record = pcall(read_record, raw)
  if not ok or not STATES[record[R_STATE]] or not record[R_QUEUE]:find("^[a-z0-9_][a-z0-9_.-]*$") then
    return nil
  end
  local origin, known = record[R_ORIGIN], true
  if origin ~= "" then
    known, origin = pcall(cmsgpack.unpack, origin)
    known = known and type(origin) == "table" and type(origin[1]) == "string"
  end
  return known and write_record(record) == raw and record or nil
end
