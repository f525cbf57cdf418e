-- This call's one journal entry: groups of transitions, each of six values: event, queue, attempts, actor, detail,
-- and the ids of its messages (a table until the entry is written, then joined, 36 characters each).
local groups, last_group = {}, -5

local function log_event(id, name, slug, attempts, actor, detail)
  local at, g = last_group, groups
  if
    g[at] == name
    and g[at + 1] == slug
    and g[at + 2] == attempts
    and g[at + 3] == actor
    and g[at + 4] == detail
  then
    local ids = g[at + 5]
    ids[#ids + 1] = id
  else
    at = at + 6
    g[at], g[at + 1], g[at + 2], g[at + 3], g[at + 4], g[at + 5] = name, slug, attempts, actor, detail, { id }
    last_group = at
  end
end

-- Appends the entry; returns its id and the number after the epoch in it. `name`, `value`: one more field.
local function journal(name, value)
  local g = groups
  local entry
  for at = 6, #g, 6 do
    g[at] = concat(g[at])
  end
  local ev, id = cmsgpack.pack(g), epoch .. "-*"
  if name then
    entry =
      redis.call("XADD", JOURNAL_KEY, id, "op", SCRIPT, "s", SCOPE_ROOT, "at", now, "ev", ev, name, value)
  else
    entry = redis.call("XADD", JOURNAL_KEY, id, "op", SCRIPT, "s", SCOPE_ROOT, "at", now, "ev", ev)
  end
  return entry, tonumber(entry:sub(#epoch + 2))
end
