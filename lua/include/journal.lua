-- Appends this call's one journal entry and returns its id; a repeated queue or actor is named once,
-- but no actor where one of the events has none.
local function journal(name, value)
  local q, by = events[3] or "", events[5] or ""
  for i = 5, #events, 6 do
    by = events[i] ~= "" and by or ""
  end
  for i = 1, #events, 6 do
    if events[i + 2] == q then
      events[i + 2] = ""
    end
    if events[i + 4] == by then
      events[i + 4] = ""
    end
  end
  local id, ev = epoch .. "-*", cmsgpack.pack(events)
  -- stylua: ignore
  local fields = { "op", SCRIPT, "s", SCOPE_ROOT, "q", q, "by", by, "at", now, "ev", ev, name, value }
  return redis.call("XADD", JOURNAL_KEY, id, unpack(fields))
end
