-- True for well-formed UTF-8 without NUL: what a row's text column can hold.
local function is_text(value)
  if not string.find(value, "[%z\128-\255]") then
    return true
  elseif string.find(value, "%z") then
    return false
  end
  -- Each whole sequence becomes one NUL, so whatever is left above ASCII is malformed.
  local rest = value
    :gsub("\240[\144-\191][\128-\191][\128-\191]", "\0")
    :gsub("[\241-\243][\128-\191][\128-\191][\128-\191]", "\0")
    :gsub("\244[\128-\143][\128-\191][\128-\191]", "\0")
    :gsub("\224[\160-\191][\128-\191]", "\0")
    :gsub("\237[\128-\159][\128-\191]", "\0")
    :gsub("[\225-\236\238\239][\128-\191][\128-\191]", "\0")
    :gsub("[\194-\223][\128-\191]", "\0")
  return not string.find(rest, "[\128-\255]")
end
