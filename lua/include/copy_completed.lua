-- Asks the rules about messages that have completed: they may have copies made.
-- @include rerouting
-- @include write_changes
local function copy_completed()
  rerouting()
  for i = 1, #ended, 2 do
    local record = read_record(ended[i + 1])
    if record[R_QUEUE] ~= "_dead_letter" then
      routing.follow("c", { id = ended[i], record = record }, queue(record[R_QUEUE]))
    end
  end
  return {
    count = #routing.copies,
    spawn = routing.spawn,
    write = function(n)
      local records = {}
      gather_changes(records, n)
      if #records > 0 then
        redis.call("HSET", STATE_KEY, unpack(records))
        write_additions()
      end
    end,
  }
end
