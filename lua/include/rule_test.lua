-- Whether a value passes a rule's test; nil is an absent one. Only values of one type are equal, only numbers have an order.
local TEST_EQ, TEST_NE, TEST_IN, TEST_GT, TEST_GTE, TEST_LT, TEST_LTE = 1, 2, 3, 4, 5, 6, 7
local TEST_EXISTS, TEST_PREFIX, TEST_CONTAINS = 8, 9, 10

local function among(list, value)
  for _, each in ipairs(list) do
    if each == value then
      return true
    end
  end
  return false
end

local function ordered(found, test, value)
  if type(found) ~= "number" then
    return false
  elseif test == TEST_GT then
    return found > value
  elseif test == TEST_GTE then
    return found >= value
  elseif test == TEST_LT then
    return found < value
  end
  return found <= value
end

local function passes(found, test, value)
  if test == TEST_EXISTS then
    return (found ~= nil) == value
  elseif test == TEST_NE then
    return found ~= value
  elseif found == nil then
    return false
  elseif test == TEST_EQ then
    return found == value
  elseif test == TEST_IN then
    return among(value, found)
  elseif test == TEST_PREFIX then
    return type(found) == "string" and found:sub(1, #value) == value
  elseif test == TEST_CONTAINS then
    if type(found) == "string" then
      return type(value) == "string" and found:find(value, 1, true) ~= nil
    end
    return type(found) == "table" and among(found, value)
  end
  return ordered(found, test, value)
end
