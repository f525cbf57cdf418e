#!lua
--[[
redrive: send messages from the dead letter back to work, with their attempts at 0.

@keys shard epoch journal due
@keys scope meta state
@item id uuid the message
@item actor text(320) who asks
@item target slug? the queue; empty: where the message came from
@reply OK queue
@reply PAUSED queue
@reply DRAINING queue
@reply ARCHIVED queue
@reply READONLY queue
@reply INVALID_STATE state or queue: it does not wait in the dead letter
@reply NOT_FOUND "message", "queue" or "scope"
@complexity O(items * log queue)
@journal redriven
@since 0.1.0
]]
-- @arguments
-- @include ready
-- @include clock
-- @include items
-- @include may_enter
-- @include commit
local function origin_queue(record)
  return record[R_ORIGIN] ~= "" and cmsgpack.unpack(record[R_ORIGIN])[1] or nil
end

local ids, records = items()
local scope_state, replies = redis.call("HGET", META_KEY, "state"), {}
for i, id in ipairs(ids) do
  local at, record = FIRST + (i - 1) * STRIDE, records[i]
  local target = ARGV[at + A_TARGET]
  if not record then
    replies[i] = { "NOT_FOUND", "message" }
  elseif record[R_QUEUE] ~= "_dead_letter" or record[R_STATE] ~= S_PENDING then
    replies[i] = { "INVALID_STATE", STATES[record[R_STATE]] }
  else
    local q = queue(target ~= "" and target or origin_queue(record) or "_dead_letter")
    replies[i] = may_enter(q, scope_state, "copies relay")
    if not replies[i] then
      local c = change(id, record, queue("_dead_letter"), "pending")
      record[R_ATTEMPTS], record[R_ORIGIN], record[R_VERB] = 0, "", V_NONE
      enter(c, q, now)
      event(c, "redriven", ARGV[at + A_ACTOR])
      replies[i] = { "OK", q.slug }
    end
  end
end
return { { "OK", commit() }, unpack(replies) }
