-- A stream's state, the chunks that a call adds to it, and writing both.
local function load_stream()
  local f = redis.call("HMGET", STREAM_META_KEY, "state", "next", "highest", "final", "bytes", "max_bytes")
  return {
    state = f[1] or (A_VERB == "open" and "open") or nil,
    changed = f[1] or nil,
    next = tonumber(f[2] or 0),
    highest = tonumber(f[3] or -1),
    final = tonumber(f[4] or -1),
    bytes = tonumber(f[5] or 0),
    max_bytes = tonumber(f[6] or A_MAX_BYTES) or 67108864,
  }
end

local function take_chunks(stream)
  local replies, fresh, added = {}, {}, {}
  for at = FIRST, #ARGV, STRIDE do
    local name, data = ARGV[at + A_SEQ], ARGV[at + A_DATA]
    local seq, final = tonumber(name), ARGV[at + A_FINAL] == "1"
    local before = added[seq] or redis.call("HGET", STREAM_CHUNKS_KEY, string.format("%.0f", seq))
    local beyond = (stream.final >= 0 and seq > stream.final) or (final and seq < stream.highest)
    if before then
      replies[#replies + 1] = { before == data and "DUPLICATE" or "CONFLICT", seq }
    elseif beyond then
      replies[#replies + 1] = { "CONFLICT", seq }
    elseif stream.bytes + #data > stream.max_bytes then
      replies[#replies + 1] = { "FULL", stream.max_bytes }
    else
      added[seq], stream.bytes = data, stream.bytes + #data
      fresh[#fresh + 1], fresh[#fresh + 2] = string.format("%.0f", seq), data
      stream.highest = math.max(stream.highest, seq)
      stream.final = final and seq or stream.final
      replies[#replies + 1] = { "OK", seq }
    end
  end
  -- At most 2,000 steps a call; a later call goes on from there.
  for _ = 1, 2000 do
    local there = added[stream.next]
      or redis.call("HEXISTS", STREAM_CHUNKS_KEY, string.format("%.0f", stream.next)) == 1
    if not there then
      break
    end
    stream.next = stream.next + 1
  end
  return replies, fresh
end

local function write_stream(stream, fresh)
  local s = stream
  -- stylua: ignore
  redis.call("HSET", STREAM_META_KEY, "state", s.state, "next", s.next, "highest", s.highest,
    "final", s.final, "bytes", s.bytes, "max_bytes", s.max_bytes, "updated_at", now)
  if #fresh > 0 then
    redis.call("HSET", STREAM_CHUNKS_KEY, unpack(fresh))
  end
  redis.call("PUBLISH", SHARD_ROOT .. ":wake", STREAM_ROOT)
end
