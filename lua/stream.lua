#!lua
--[[
stream: collect the chunks of a stream, which may come twice and out of order, and end it.

@keys shard epoch journal
@keys scope meta
@keys stream meta chunks
@arg verb word(open,append,close,abort) open begins it; close ends it once no chunk is missing
@arg actor text(320) who asks
@arg max_bytes int(1,1099511627776)? with open: it takes so many bytes at most; empty: 64 MiB
@items 0
@item seq int(0,9999999) the chunk's place, from 0
@item data bytes its content, untouched
@item final int(0,1)? 1: there is none after it
@reply OK seq: stored; and in the last element: next_missing bytes state
@reply DUPLICATE seq: stored before, with the same content
@reply CONFLICT seq: stored before with other content, or beyond the final chunk
@reply FULL max_bytes
@reply MORE next_missing bytes state, in the last element: a close waits for that chunk
@reply INVALID_STATE state
@reply NOT_FOUND "stream" or "scope"
@complexity O(items)
@journal none for messages; the entry's detail names the stream
@since 0.1.0
]]
-- @arguments
-- @include ready
-- @include clock
-- @include stream_chunks

-- @include journal
local scope_state = redis.call("HGET", META_KEY, "state")
local stream = load_stream()
local refusal
if scope_state ~= "active" then
  refusal = { scope_state and string.upper(scope_state) or "NOT_FOUND", "scope" }
elseif not stream.state and A_VERB ~= "open" then
  refusal = { "NOT_FOUND", "stream" }
elseif stream.state and stream.state ~= "open" then
  refusal = { "INVALID_STATE", stream.state }
end
if refusal then
  local replies = { { "OK", "" } }
  for _ = FIRST, #ARGV, STRIDE do
    replies[#replies + 1] = refusal
  end
  replies[#replies + 1] = refusal
  return replies
end

local replies, fresh = take_chunks(stream)
local word = "OK"
if A_VERB == "abort" then
  stream.state = "aborted"
elseif A_VERB == "close" then
  if stream.next > stream.highest and (stream.final < 0 or stream.next > stream.final) then
    stream.state = "closed"
  else
    word = "MORE"
  end
end
local entry = ""
if #fresh > 0 or stream.changed ~= stream.state then
  entry = journal("detail", cmsgpack.pack({ STREAM_ROOT, A_VERB, A_ACTOR, stream.next, #fresh / 2 }))
  write_stream(stream, fresh)
end
replies[#replies + 1] = { word, stream.next, stream.bytes, stream.state }
return { { "OK", entry }, unpack(replies) }
