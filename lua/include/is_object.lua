-- True for UTF-8 text that is one JSON object, and as strict as its other readers: cjson alone lets pass
-- NaN, hexadecimal, leading zeros, a bare point, and control characters inside strings.
-- @include is_text
local function is_object(value)
  -- @include is_scalar
  if not string.find(value, "^%s*{") or not is_text(value) or not pcall(cjson.decode, value) then
    return false
  end
  local bare = value:gsub("\\.", ""):gsub('"[^"%c]*"', "")
  for token in bare:gmatch("[^%s%[%]{}:,]+") do
    if not is_scalar(token) then
      return false
    end
  end
  return true
end
