-- Adds the records of all gathered changes to a list (id, record, …), and their moves to the sets.
-- `n`: the journal entry's number in the epoch.
-- @include record_table
-- @include changes
-- @include sets
local function gather_changes(records, n)
  local filled = #records
  for i = 1, #changes do
    local c = changes[i]
    local id, record = c.id, c.record
    if not c.keeps_version then
      record[R_EPOCH], record[R_N], record[R_UPDATED] = epoch, n, now
    end
    records[filled + 1], records[filled + 2], filled = id, write_record(record), filled + 2
    if c.from then
      leave(id, c.expires or record[R_EXPIRES], c.from, c.from_set)
    end
    if c.to then
      arrive(id, record[R_EXPIRES], c.to, c.to_set, c.score)
    end
  end
  if routing then
    routing.write()
  end
end
