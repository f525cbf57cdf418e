-- A stream that has just begun, and the chunks that a call adds to one.
local function new_stream(max_body)
  return {
    state = "open",
    queue = A_QUEUE,
    template = A_TEMPLATE,
    actor = A_ACTOR,
    reason = "",
    message_id = "",
    next_seq = 0,
    highest_seq = -1,
    final_seq = -1,
    chunk_count = 0,
    byte_count = 0,
    max_bytes = tonumber(A_MAX_BYTES) or max_body,
    max_chunks = tonumber(A_MAX_CHUNKS) or 10000,
    idle_ms = tonumber(A_IDLE_MS) or 300000,
    created_at = now,
    updated_at = now,
  }
end

-- The first reason against a chunk that is not there yet; nil: it is taken.
local function against(stream, seq, size, final)
  local beyond = stream.final_seq >= 0 and seq > stream.final_seq
  if beyond or (final and (seq < stream.highest_seq or stream.final_seq >= 0)) then
    return { "CONFLICT", seq }
  elseif seq >= stream.max_chunks then
    return { "FULL", "chunks", stream.max_chunks }
  elseif stream.byte_count + size > stream.max_bytes then
    return { "FULL", "bytes", stream.max_bytes }
  end
end

-- The replies, and what is new: seq and content of each, in a row.
local function take_chunks(stream)
  local replies, fresh, added = {}, {}, {}
  for at = FIRST, #ARGV, STRIDE do
    local seq, data, final = tonumber(ARGV[at + A_SEQ]), ARGV[at + A_DATA], ARGV[at + A_FINAL] == "1"
    local name = string.format("%.0f", seq)
    local before = added[seq] or redis.call("HGET", STREAM_CHUNKS_KEY, name)
    local same = before == data and (not final or stream.final_seq == seq)
    local reply = before and { same and "DUPLICATE" or "CONFLICT", seq }
    reply = reply or against(stream, seq, #data, final)
    if not reply then
      added[seq], reply = data, { "OK", seq }
      fresh[#fresh + 1], fresh[#fresh + 2] = name, data
      stream.byte_count, stream.chunk_count = stream.byte_count + #data, stream.chunk_count + 1
      stream.highest_seq = math.max(stream.highest_seq, seq)
      stream.final_seq = final and seq or stream.final_seq
    end
    replies[#replies + 1] = reply
  end
  -- A stream's chunks are each passed once, so this is bounded by their number.
  while stream.next_seq <= stream.highest_seq do
    local name = string.format("%.0f", stream.next_seq)
    if not added[stream.next_seq] and redis.call("HEXISTS", STREAM_CHUNKS_KEY, name) == 0 then
      break
    end
    stream.next_seq = stream.next_seq + 1
  end
  return replies, fresh
end
