#!lua flags=allow-oom
--[[
sweep: settle the queue of a shard that is longest overdue: lost leases, expiries, delayed messages, reviews.
Scope and queue follow from the due index; their keys carry the shard's tag.

@keys shard epoch journal due
@arg limit int(1,1000) at most so many messages
@reply EMPTY next_due_ms: nothing is due yet; -1 when nothing ever will be
@reply OK queue_root settled lease_lost promoted expired dead_lettered: look again, another queue may be due
@reply MORE queue_root settled lease_lost promoted expired dead_lettered: more is due in this queue
@complexity O(limit * log queue)
@journal lease_lost promoted expired dead_lettered cancelled, and of reviews escalated requeued decided
@since 0.1.0
]]
-- @arguments
-- @include ready
-- @include clock
local overdue_queue = redis.call("ZRANGE", DUE_KEY, 0, 0, "WITHSCORES")
if not overdue_queue[1] or tonumber(overdue_queue[2]) > now then
  return { { "OK", "" }, { "EMPTY", tonumber(overdue_queue[2] or -1) } }
end
local SCOPE_ROOT, first_slug = overdue_queue[1]:match("^(.*):q:(.-)$")
local STATE_KEY, OUTCOME_KEY = SCOPE_ROOT .. ":state", SCOPE_ROOT .. ":outcome"
-- @include settle
-- @include next_due
local q, limit = queue(first_slug), tonumber(A_LIMIT)
local settled, counts = settle(q, limit)
local entry = commit()
next_due(q)
local word = settled >= limit and "MORE" or "OK"
local function count(name)
  return counts[name] or 0
end
local lost, dead = count("lease_lost"), count("dead_lettered")
return { { "OK", entry }, { word, q.root, settled, lost, count("promoted"), count("expired"), dead } }
