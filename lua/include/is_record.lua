-- True for what a packed state record decodes to: text, numbers and the origin in their places.
-- @include record
local function is_record(record)
  if type(record) ~= "table" then
    return false
  end
  local kinds = { [R_QUEUE] = "string", [R_TOKEN] = "string", [R_HOLDER] = "string", [R_VERB] = "string" }
  kinds[R_ORIGIN] = "table"
  for field = 1, R_ORIGIN do
    if type(record[field]) ~= (kinds[field] or "number") then
      return false
    end
  end
  return STATES[record[R_STATE]] ~= nil and record[R_QUEUE]:find("^[a-z0-9_][a-z0-9_-]*$") ~= nil
end
