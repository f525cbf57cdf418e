-- The moves between sets that a call makes, one command per key, and what follows from them:
-- the due index, and a wake-up for each `pending` that was empty. Removals go first.
-- @include record
-- @include queue
local additions, removals, dues = {}, {}, {}

local function put(lists, key, first, second)
  local list = lists[key]
  if not list then
    lists[key] = { n = second and 2 or 1, first, second }
    return
  end
  local n = list.n + 1
  list[n] = first
  if second then
    n = n + 1
    list[n] = second
  end
  list.n = n
end

local function note_due(q, at)
  if not dues[q.root] or at < dues[q.root] then
    dues[q.root] = at
  end
end

local function leave(id, expires, q, set)
  put(removals, set_key(q, set), id)
  if set ~= "claimed" and expires > 0 then
    put(removals, set_key(q, "expiry"), id)
  end
end

local function arrive(id, expires, q, set, score_there)
  put(additions, set_key(q, set), score_there, id)
  if set ~= "pending" then
    note_due(q, score_there)
  end
  if set ~= "claimed" and expires > 0 then
    put(additions, set_key(q, "expiry"), expires, id)
    note_due(q, expires)
  end
end

local function write_removals()
  for key, list in pairs(removals) do
    redis.call("ZREM", key, unpack(list, 1, list.n))
  end
end

local function write_additions()
  for _, q in pairs(queues_by_slug) do
    local key = q.keys.pending
    if key and additions[key] and redis.call("ZCARD", key) == 0 then
      redis.call("PUBLISH", SHARD_ROOT .. ":wake", q.root)
    end
  end
  for key, list in pairs(additions) do
    redis.call("ZADD", key, unpack(list, 1, list.n))
  end
  for root, at in pairs(dues) do
    redis.call("ZADD", DUE_KEY, "LT", at, root)
  end
end
