-- This call's one journal entry. An event is six values: id, name, queue, attempts, actor, detail; a queue
-- or actor that is the entry's own is left empty.
local events, event_count, entry_queue, entry_actor = {}, 0, "", ""

local function log_event(id, name, slug, attempts, actor, detail)
  local n = event_count
  if n == 0 then
    entry_queue, entry_actor = slug, actor
  elseif actor == "" and entry_actor ~= "" then
    -- An event without an actor: from here on every event names its own.
    for i = 5, n, 6 do
      events[i] = events[i] == "" and entry_actor or events[i]
    end
    entry_actor = ""
  end
  events[n + 1], events[n + 2] = id, name
  events[n + 3] = slug == entry_queue and "" or slug
  events[n + 4] = attempts
  events[n + 5] = actor == entry_actor and "" or actor
  events[n + 6] = detail or ""
  event_count = n + 6
end

-- Appends the entry and returns its id.
local function journal(name, value)
  local id, ev = epoch .. "-*", cmsgpack.pack(events)
  -- stylua: ignore
  local fields = { "op", SCRIPT, "s", SCOPE_ROOT, "q", entry_queue, "by", entry_actor, "at", now, "ev", ev, name, value }
  return redis.call("XADD", JOURNAL_KEY, id, unpack(fields))
end
