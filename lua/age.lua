#!lua flags=allow-oom
--[[
age: raise what has waited long in a priority queue, by the queue's aging setting. It looks at the oldest
of each rank, so a queue without old messages costs a few reads, however long it is.

@keys shard epoch journal
@keys scope meta state
@keys queue meta pending
@arg limit int(1,1000) at most so many raised this call
@arg cursor int(0,5001)? the rank to begin below, from an earlier MORE
@reply OK raised
@reply MORE raised cursor
@complexity O(ranks + raised * log queue)
@journal aged, with the count only
@since 0.1.0
]]
-- @arguments
-- @include ready
-- @include clock
-- @include load_members
-- @include effective_rank

-- @include journal
local RANK, HOPS, WINDOW = 1099511627776, 200, 100
local q, limit = settings(queue(QUEUES[1])), tonumber(A_LIMIT)
if q.aging == "" or q.ordering ~= "priority" then
  return { { "OK", "" }, { "OK", 0 } }
end
local below, raised, word = 5000 - (tonumber(A_CURSOR) or 5001), {}, "OK"
for hop = 1, HOPS + 1 do
  local from = string.format("%.0f", (below + 1) * RANK)
  local first =
    redis.call("ZRANGE", set_key(q, "pending"), from, "+inf", "BYSCORE", "LIMIT", 0, 1, "WITHSCORES")
  if not first[1] then
    break
  elseif hop > HOPS or #raised / 2 + WINDOW > math.max(limit, WINDOW) then
    word = "MORE"
    break
  end
  below = math.floor(tonumber(first[2]) / RANK)
  local till = "(" .. string.format("%.0f", (below + 1) * RANK)
  local ids = redis.call(
    "ZRANGE",
    set_key(q, "pending"),
    first[2],
    till,
    "BYSCORE",
    "LIMIT",
    0,
    math.min(WINDOW, limit)
  )
  local members, records = load_members(q, "pending", ids)
  local before = #raised
  for i, record in ipairs(records) do
    local rank = effective_rank(q, record)
    if rank > 5000 - below then
      raised[#raised + 1] = (5000 - rank) * RANK + record[R_SEQ] % RANK
      raised[#raised + 1] = members[i]
    end
  end
  if #raised > before and #members == math.min(WINDOW, limit) then
    word, below = "MORE", below - 1
    break
  end
end
local entry = ""
if #raised > 0 then
  entry = journal("detail", cjson.encode({ q.slug, #raised / 2 }))
  redis.call("ZADD", set_key(q, "pending"), unpack(raised))
end
return { { "OK", entry }, { word, #raised / 2, 5000 - below } }
