-- True for UTF-8 text that is one JSON object.
-- @include is_text
local function is_object(value)
  if not string.find(value, "^%s*{") or not is_text(value) then
    return false
  end
  return (pcall(cjson.decode, value))
end
