-- The moves between sets that a call makes, one command per key, and what follows from them:
-- the due index, and a wake-up for each `pending` that was empty.
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

local function arrive(id, record, q, set, score_there)
  put(additions, set_key(q, set), score_there, id)
  if set ~= "pending" then
    note_due(q, score_there)
  end
  if set ~= "claimed" and record[R_EXPIRES] > 0 then
    put(additions, set_key(q, "expiry"), record[R_EXPIRES], id)
    note_due(q, record[R_EXPIRES])
  end
end

local function write_sets()
  local woken
  for _, q in pairs(queues_by_slug) do
    local key = q.keys.pending
    if key and additions[key] and redis.call("ZCARD", key) == 0 then
      woken = woken or {}
      woken[#woken + 1] = q.root
    end
  end
  for key, list in pairs(removals) do
    redis.call("ZREM", key, unpack(list, 1, list.n))
  end
  for key, list in pairs(additions) do
    redis.call("ZADD", key, unpack(list, 1, list.n))
  end
  for root, at in pairs(dues) do
    redis.call("ZADD", DUE_KEY, "LT", at, root)
  end
  for _, root in ipairs(woken or {}) do
    redis.call("PUBLISH", SHARD_ROOT .. ":wake", root)
  end
end
