-- The moves between sets that a call makes, one command per key, and what follows from them:
-- the due index, and a wake-up for each `pending` that was empty.
-- @include record
local additions, removals, dues = {}, {}, {}

local function listed(lists, key)
  local list = lists[key]
  if not list then
    list = {}
    lists[key] = list
  end
  return list
end

local function note_due(q, at)
  dues[q.root] = math.min(at, dues[q.root] or at)
end

local function leave(c)
  local list = listed(removals, c.from[c.from_set])
  list[#list + 1] = c.id
  if c.from_set ~= "claimed" and (c.expires or c.record[R_EXPIRES]) > 0 then
    list = listed(removals, c.from.expiry)
    list[#list + 1] = c.id
  end
end

local function arrive(c)
  local list, expires = listed(additions, c.to[c.to_set]), c.record[R_EXPIRES]
  list[#list + 1], list[#list + 2] = c.score, c.id
  if c.to_set ~= "pending" then
    note_due(c.to, c.score)
  end
  if c.to_set ~= "claimed" and expires > 0 then
    list = listed(additions, c.to.expiry)
    list[#list + 1], list[#list + 2] = expires, c.id
    note_due(c.to, expires)
  end
end

local function write_sets()
  local woken = {}
  for key in pairs(additions) do
    if key:sub(-8) == ":pending" and redis.call("ZCARD", key) == 0 then
      woken[#woken + 1] = key:sub(1, -9)
    end
  end
  for key, list in pairs(removals) do
    redis.call("ZREM", key, unpack(list))
  end
  for key, list in pairs(additions) do
    redis.call("ZADD", key, unpack(list))
  end
  for root, at in pairs(dues) do
    redis.call("ZADD", DUE_KEY, "LT", at, root)
  end
  for _, root in ipairs(woken) do
    redis.call("PUBLISH", SHARD_ROOT .. ":wake", root)
  end
end
