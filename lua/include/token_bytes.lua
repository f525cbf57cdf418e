-- The nine bytes of a token's text as a record holds them; nil for a text that is no token.
local tokens = {}

local function token_bytes(text)
  if tokens[text] == nil then
    local epoch_text, counter = text:match("^(%d+)%.(%d+)$")
    local fits = epoch_text and #epoch_text <= 7 and #counter <= 14
    -- Written back it must be the same text, so that each token has one form.
    local packed = fits and struct.pack(">I3I6", tonumber(epoch_text), tonumber(counter)) or false
    tokens[text] = packed and text == string.format("%.0f.%.0f", struct.unpack(">I3I6", packed)) and packed
  end
  return tokens[text] or nil
end
