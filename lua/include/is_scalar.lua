-- True for a JSON number that a double can hold, and for true, false and null.
local function is_scalar(token)
  local whole, rest = token:match("^%-?(%d+)(.*)$")
  if not whole then
    return token == "true" or token == "false" or token == "null"
  elseif #whole > 1 and whole:sub(1, 1) == "0" then
    return false
  end
  local exponent = rest:gsub("^%.%d+", "")
  return (exponent == "" or exponent:find("^[eE][+-]?%d+$") ~= nil) and math.abs(tonumber(token)) < math.huge
end
