-- Writes all gathered changes with one journal entry, and returns the entry's id; "" if there is none.
-- @include changes
-- @include journal
-- @include sets
local function commit(name, value)
  if #changes == 0 then
    return ""
  end
  local entry = #events > 0 and journal(name, value) or ""
  local epoch_number, n = entry:match("^(%d+)-(%d+)$")
  epoch_number, n = tonumber(epoch_number), tonumber(n)
  local records = {}
  for i, c in ipairs(changes) do
    local record = c.record
    if not c.keeps_version then
      record[R_EPOCH], record[R_N], record[R_UPDATED] = epoch_number, n, now
    end
    c.packed = cmsgpack.pack(record)
    records[2 * i - 1], records[2 * i] = c.id, c.packed
    if c.from then
      leave(c)
    end
    if c.to then
      arrive(c)
    end
  end
  redis.call("HSET", STATE_KEY, unpack(records))
  write_sets()
  return entry
end
