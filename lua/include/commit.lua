-- Writes all gathered changes with one journal entry, and returns the entry's id; "" if there is none.
-- `fresh` (optional) adds the records of new messages to the list that it is given.
-- @include changes
-- @include journal
-- @include sets
local function commit(name, value, fresh)
  if #changes == 0 and not fresh then
    return ""
  end
  local entry = event_count > 0 and journal(name, value) or ""
  local epoch_number, n = entry:match("^(%d+)-(%d+)$")
  epoch_number, n = tonumber(epoch_number), tonumber(n)
  local records = {}
  for i = 1, #changes do
    local c = changes[i]
    local id, record = c.id, c.record
    if not c.keeps_version then
      record[R_EPOCH], record[R_N], record[R_UPDATED] = epoch_number, n, now
    end
    c.packed = cmsgpack.pack(record)
    records[2 * i - 1], records[2 * i] = id, c.packed
    if c.from then
      leave(id, c.expires or record[R_EXPIRES], c.from, c.from_set)
    end
    if c.to then
      arrive(id, record, c.to, c.to_set, c.score)
    end
  end
  if fresh then
    fresh(records, epoch_number, n)
  end
  redis.call("HSET", STATE_KEY, unpack(records))
  write_sets()
  return entry
end
