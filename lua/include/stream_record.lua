-- A stream's stored fields, and what every change of it writes: the journal's entry, the fields, and its place
-- among the open ones (by when they are idle), the closed ones (by the next try to publish their message) or
-- the ended ones (by when they may be forgotten).
-- @include journal
local FIRST_TRY_MS, TRY_AGAIN_MS, FORGET_MS = 2000, 5000, 60000
local TEXT_FIELDS = { "state", "queue", "template", "actor", "reason", "message_id", "epoch", "n" }
-- stylua: ignore
local NUMBER_FIELDS = { "next_seq", "highest_seq", "final_seq", "chunk_count", "byte_count", "max_bytes", "max_chunks",
  "idle_ms", "created_at", "updated_at" }

local function load_stream()
  local values = redis.call("HMGET", STREAM_META_KEY, unpack(TEXT_FIELDS))
  if not values[1] then
    return nil
  end
  local stream = {}
  for i, name in ipairs(TEXT_FIELDS) do
    stream[name] = values[i] or ""
  end
  for i, value in ipairs(redis.call("HMGET", STREAM_META_KEY, unpack(NUMBER_FIELDS))) do
    stream[NUMBER_FIELDS[i]] = tonumber(value or 0)
  end
  stream.version = stream.epoch .. "-" .. stream.n
  return stream
end

local function change_stream(stream, event, actor, fresh)
  local id = STREAM_ROOT:match("[^:]+$")
  local note = { event = event, stream = id, queue = stream.queue, actor = actor }
  note.reason = stream.reason ~= "" and stream.reason or nil
  note.message_id = stream.message_id ~= "" and stream.message_id or nil
  if fresh and #fresh > 0 then
    note.seqs, note.bytes = {}, 0
    for at = 1, #fresh, 2 do
      note.seqs[#note.seqs + 1], note.bytes = tonumber(fresh[at]), note.bytes + #fresh[at + 1]
    end
    redis.call("HSET", STREAM_CHUNKS_KEY, unpack(fresh))
    -- Towards the backlog a chunk counts as a message does.
    note.published = redis.call("HINCRBY", LIMITS_KEY, "published", #fresh / 2)
  end
  local entry, n = journal("detail", cjson.encode(note))
  stream.updated_at, stream.epoch, stream.n = now, epoch, n
  local fields = {}
  for _, names in ipairs({ TEXT_FIELDS, NUMBER_FIELDS }) do
    for _, name in ipairs(names) do
      fields[#fields + 1], fields[#fields + 2] = name, stream[name]
    end
  end
  redis.call("HSET", STREAM_META_KEY, unpack(fields))
  local place, due = ENDED_STREAMS_KEY, now + FORGET_MS
  if stream.state == "open" then
    place, due = OPEN_STREAMS_KEY, now + stream.idle_ms
  elseif stream.state == "closed" then
    place, due = CLOSED_STREAMS_KEY, now + FIRST_TRY_MS
  end
  for _, key in ipairs({ OPEN_STREAMS_KEY, CLOSED_STREAMS_KEY, ENDED_STREAMS_KEY }) do
    redis.call("ZREM", key, STREAM_ROOT)
  end
  redis.call("ZADD", place, due, STREAM_ROOT)
  redis.call("PUBLISH", SHARD_ROOT .. ":wake", STREAM_ROOT)
  return entry
end

local function is_idle(stream)
  return stream.state == "open" and now >= stream.updated_at + stream.idle_ms
end

local function end_idle(stream)
  stream.state, stream.reason = "aborted", "idle"
  return change_stream(stream, "stream.aborted", "")
end
