-- Writes all gathered changes with one journal entry, and returns the entry's id; "" if there is none.
-- @include write_changes
-- @include journal
local function commit()
  if #changes == 0 then
    return ""
  end
  local entry, n = "", nil
  if #groups > 0 then
    if routing then
      entry, n = journal(routing.spawn())
    else
      entry, n = journal()
    end
  end
  local records = {}
  gather_changes(records, n)
  redis.call("HSET", STATE_KEY, unpack(records))
  write_removals()
  write_additions()
  return entry
end
