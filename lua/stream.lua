#!lua
--[[
stream: open a stream, collect its chunks, which may come twice and out of order, and close it.

@keys shard epoch journal limits open_streams closed_streams ended_streams
@keys scope meta
@keys stream meta chunks
@arg verb word(open,append,close) open begins it; close ends it once no chunk is missing
@arg actor text(320) who asks
@arg queue slug? with open: where its message goes
@arg template text(16384)? with open: what its message is made of, JSON; kept, not read
@arg max_bytes int(1,16777216)? with open: it takes so many bytes at most; empty: the shard's max_body
@arg max_chunks int(1,10000)? with open: and so many chunks; empty: 10,000
@arg idle_ms int(1,86400000)? with open: it is aborted when no chunk came for so long; empty: 5 minutes
@items 0
@item seq int(0,9999) the chunk's place, from 0
@item data bytes its content, untouched
@item final int(0,1)? 1: there is none after it
@reply OK seq: stored; and in the last element: state next_seq highest_seq final_seq chunk_count byte_count
@reply DUPLICATE seq: stored before, with the same content
@reply CONFLICT seq: stored before with other content, beyond the final chunk, or final before another
@reply FULL "bytes" or "chunks", and how many it takes
@reply MORE state next_seq highest_seq final_seq chunk_count byte_count, in the last element: a close waits for chunk next_seq
@reply BACKLOG the rows are too far behind
@reply PAUSED "scope"
@reply ARCHIVED "scope"
@reply INVALID_STATE state
@reply NOT_FOUND "stream" or "scope"
@complexity O(items), and O(chunks) where a gap closes
@journal none for messages; the entry's detail says what happened to the stream
@since 0.1.0
]]
-- @arguments
-- @include ready
-- @include clock
if A_VERB == "open" and A_QUEUE == "" then
  return bad("queue", "a slug")
end
-- @include stream_record
-- @include stream_chunks
local scope_state = redis.call("HGET", META_KEY, "state")
local bounds = redis.call("HMGET", LIMITS_KEY, "backlog_limit", "published", "persisted", "max_body")
local room = tonumber(bounds[1] or 9007199254740991) - (bounds[2] or 0) + (bounds[3] or 0)
local stream, entry = load_stream(), ""
local refusal
if scope_state ~= "active" then
  refusal = { scope_state and string.upper(scope_state) or "NOT_FOUND", "scope" }
elseif not stream and A_VERB ~= "open" then
  refusal = { "NOT_FOUND", "stream" }
elseif stream and is_idle(stream) then
  entry = end_idle(stream)
end
if not refusal and stream and stream.state ~= "open" then
  refusal = { "INVALID_STATE", stream.state }
elseif not refusal and room <= 0 and A_VERB ~= "close" then
  refusal = { "BACKLOG" }
end
if refusal then
  local replies = { { "OK", entry } }
  for _ = FIRST, #ARGV, STRIDE do
    replies[#replies + 1] = refusal
  end
  replies[#replies + 1] = refusal
  return replies
end

local event = not stream and "stream.opened"
stream = stream or new_stream(tonumber(bounds[4] or 262144))
local replies, fresh = take_chunks(stream)
event = event or (#fresh > 0 and "stream.appended")
local word = "OK"
if A_VERB == "close" and stream.next_seq <= math.max(stream.highest_seq, stream.final_seq) then
  word = "MORE"
elseif A_VERB == "close" then
  stream.state, event = "closed", "stream.closed"
end
if event then
  entry = change_stream(stream, event, A_ACTOR, fresh)
end
local s = stream
replies[#replies + 1] = { word, s.state, s.next_seq, s.highest_seq, s.final_seq, s.chunk_count, s.byte_count }
return { { "OK", entry }, unpack(replies) }
