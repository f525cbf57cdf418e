-- Copies of messages of a broadcast queue: records in the queues of its subscriptions, which share the envelope of the
-- first. All copies of a message are one record but for the queue.
-- @include record_table
-- @include derived_id
-- @include sets
local copy_records, copy_lanes = {}, {}

-- The line of a copy in the journal; copies for one subscription share it.
local function log_copy(id, slug, actor)
  local line = copy_lanes[slug]
  if line and line.actor == actor then
    line.ids[#line.ids + 1] = id
  else
    log_event(id, "published", slug, 0, actor, "copy")
    copy_lanes[slug] = { actor = actor, ids = groups[last_group + 5] }
  end
end

-- `list`: flat, queue and id of each; `record`: as all of them have it.
local function place_copies(record, list, set, score_there)
  record[R_QUEUE] = ""
  local raw, filled = write_record(record), #copy_records
  local head, tail = raw:sub(1, 54), raw:sub(56)
  for i = 1, #list, 2 do
    local slug, id = list[i], list[i + 1]
    copy_records[filled + 1], copy_records[filled + 2] = id, head .. string.char(#slug) .. slug .. tail
    filled = filled + 2
    arrive(id, record[R_EXPIRES], queue(slug), set, score_there)
  end
end
