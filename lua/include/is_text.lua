-- True for well-formed UTF-8 without NUL: what a row's text column can hold. A value met before is known.
local texts = {}

local function is_text(value)
  if texts[value] == nil then
    local _, ascii = string.find(value, "^[\1-\127]*")
    texts[value] = ascii == #value
    if ascii < #value then
      -- Each whole sequence becomes one ASCII byte, so whatever is left above ASCII is malformed.
      local rest = value
        :gsub("\240[\144-\191][\128-\191][\128-\191]", "\1")
        :gsub("[\241-\243][\128-\191][\128-\191][\128-\191]", "\1")
        :gsub("\244[\128-\143][\128-\191][\128-\191]", "\1")
        :gsub("\224[\160-\191][\128-\191]", "\1")
        :gsub("\237[\128-\159][\128-\191]", "\1")
        :gsub("[\225-\236\238\239][\128-\191][\128-\191]", "\1")
        :gsub("[\194-\223][\128-\191]", "\1")
      texts[value] = not string.find(rest, "[%z\128-\255]")
    end
  end
  return texts[value]
end
