-- Puts a message `m` before a human, where it is or was just sent. That is a hop, so that it ends some day.
-- @include rule_sending
-- What the message says of itself, as text within JSON; what is absent or empty is a dash.
local function said(m, field)
  local text = (field_value(m, field) or ""):gsub("%c", " ")
  if #text > 256 then
    text = text:sub(1, 257):gsub("[^\128-\191][\128-\191]*$", "")
  end
  return text == "" and "-" or cjson.encode(text):sub(2, -2)
end

-- `spec`: JSON in pieces: text, field, text, …
local function ask_human(m, out, slug, rule, sent)
  local raise, pieces = rule.escalate, {}
  if not sent and not count_hop(m, out, rule) then
    return
  end
  raise.pieces = raise.pieces
    or cmsgpack.unpack(redis.call("GETRANGE", SCOPE_ROOT .. ":rules", raise.spec[1], raise.spec[2]))
  for i, piece in ipairs(raise.pieces) do
    pieces[i] = type(piece) == "table" and said(m, piece) or piece
  end
  local overlay = change_overlay(m)
  overlay.hitl_spec, overlay.review_ms = concat(pieces), raise.review_ms
  count_in(m, nil)
  note_step(out, "escalated", slug, rule, rule.name .. ": review")
end
