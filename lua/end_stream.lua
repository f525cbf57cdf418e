#!lua flags=allow-oom
--[[
end_stream: end an open stream, note what became of a closed one, or drop an ended one that the rows hold.

@keys shard epoch journal limits open_streams closed_streams ended_streams
@keys scope meta
@keys stream meta chunks
@arg verb word(abort,idle,assembled,failed,later,forget) abort and idle end an open one; assembled and failed a closed one, which later leaves for the next try; forget drops an ended one
@arg actor text(320)? who asks
@arg detail text(1024)? with abort and failed: why; with assembled: its message's id; with forget: its version in the rows
@reply OK state
@reply EMPTY due_ms: with idle: not before then
@reply CONFLICT version: with forget: it has another
@reply INVALID_STATE state
@reply NOT_FOUND "stream"
@complexity O(1), and with forget O(chunks)
@journal none for messages; the entry's detail says what happened to the stream
@since 0.1.0
]]
-- @arguments
-- @include ready
-- @include clock
-- @include stream_record
local NEEDS = { abort = "open", idle = "open", assembled = "closed", failed = "closed", later = "closed" }
local stream = load_stream()
if not stream then
  return { { "OK", "" }, { "NOT_FOUND", "stream" } }
end
local needed = NEEDS[A_VERB]
local ended = stream.state ~= "open" and stream.state ~= "closed"
if needed and stream.state ~= needed or not needed and not ended then
  return { { "OK", "" }, { "INVALID_STATE", stream.state } }
end

if A_VERB == "forget" then
  if stream.version ~= A_DETAIL then
    return { { "OK", "" }, { "CONFLICT", stream.version } }
  end
  redis.call("UNLINK", STREAM_META_KEY, STREAM_CHUNKS_KEY)
  redis.call("ZREM", ENDED_STREAMS_KEY, STREAM_ROOT)
  return { { "OK", "" }, { "OK", stream.state } }
elseif A_VERB == "later" then
  redis.call("ZADD", CLOSED_STREAMS_KEY, now + TRY_AGAIN_MS, STREAM_ROOT)
  return { { "OK", "" }, { "OK", "closed" } }
elseif A_VERB == "idle" then
  if not is_idle(stream) then
    return { { "OK", "" }, { "EMPTY", stream.updated_at + stream.idle_ms } }
  end
  return { { "OK", end_idle(stream) }, { "OK", "aborted" } }
end
if A_VERB == "assembled" then
  stream.message_id = A_DETAIL
else
  stream.reason = A_DETAIL
end
stream.state = A_VERB == "abort" and "aborted" or A_VERB
local entry = change_stream(stream, "stream." .. stream.state, A_ACTOR)
return { { "OK", entry }, { "OK", stream.state } }
