-- Messages without options go to the first queue of a call. They differ in seq and size alone: what they share
-- is made once.
-- @include record
local lane, specialities

local function log_plain(id, q)
  if not lane then
    log_event(id, "published", q.slug, 0, A_ACTOR, "")
    lane = { ids = groups[last_group + 5], members = {} }
    return
  end
  local ids = lane.ids
  ids[#ids + 1] = id
end

local function place_plain(id, q, seq, size, n)
  local l = lane
  if not l.head then
    l.base, l.wrap = 0, q.ordering == "priority" and 1099511627776 or 9007199254740992
    if q.ordering ~= "fifo" then
      local record = { [R_SEQ] = 0, [R_RANK] = 2500, [R_DEADLINE] = 0, [R_CREATED] = now }
      l.base = specialities().score(q, record)
    end
    l.head = struct.pack(">BBI3I6I3I6I6I6I2B", S_PENDING, V_NONE, 0, 0, epoch, n, 0, now, 0, 0)
    l.tail = struct.pack(">BI6B", QUEUES_RETRIES, now, #q.slug) .. q.slug
  end
  local members = l.members
  local at = #members
  members[at + 1], members[at + 2] = l.base + seq % l.wrap, id
  return l.head .. struct.pack(">I6I2I4", seq, 2500, size) .. l.tail
end

local function write_lane(q)
  if lane then
    local key = q.root .. ":pending"
    if redis.call("ZADD", key, unpack(lane.members)) == redis.call("ZCARD", key) then
      redis.call("PUBLISH", SHARD_ROOT .. ":wake", q.root)
    end
  end
end
