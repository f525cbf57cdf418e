-- What is published in a broadcast queue: each subscription that wants it gets a copy, and the message itself has ended.
-- @include subscriptions
-- @include copies
-- @include shares
local shared, sent = {}, 0

-- True where the subscription has had a message with this idempotency key within its window.
local function had(o, slug, dedup_ms, id)
  if dedup_ms == 0 or (o.idem or 0) == 0 then
    return false
  end
  local key = SCOPE_ROOT .. ":idem:" .. slug .. ":" .. KEYS[ITEM_KEYS + o.idem]:sub(-64)
  if keys_now[key] or redis.call("EXISTS", key) == 1 then
    return true
  end
  keys_now[key] = id .. " " .. (o.digest or "")
  keys_used[#keys_used + 1] = { key, dedup_ms }
  return false
end

-- False where a bounded subscription has no room for one more.
local function has_room_for(slug, q, reviewed)
  local mine = queue(slug)
  mine.max_depth, mine.ordering, mine.overflow, mine.loaded = q.max_depth, q.ordering, q.overflow, true
  local target = make_room(mine, not reviewed)
  return target == mine
end

-- Who gets the message: `list` flat, queue and id of each copy; `late` those for whom there is no room. Nothing is written.
local function invite(id, o, q, envelope, r)
  local m = r and r.m or { id = id, envelope = envelope, rank = o.rank or 2500, attempts = 0 }
  local program, actor = subscriptions(q), o.actor or A_ACTOR
  local guests, asked, found, list = { list = {}, late = {} }, {}, {}, program.list
  m.queue, m.values = q.slug, m.values or (o.values and decoded(o.values))
  for at = 1, #list, 4 do
    local slug, first = list[at], list[at + 2]
    if first == 0 or wants(program, first, m, asked, found) then
      local copy = derived_id(id, list[at + 1], "broadcast")
      if not had(o, slug, list[at + 3], copy) then
        local to = guests.list
        if q.max_depth > 0 and not has_room_for(slug, settings(q), o.review_ms or (r and r.review)) then
          to = guests.late
          log_event(copy, "dead_lettered", "_dead_letter", 0, actor, "overflow")
        else
          log_copy(copy, slug, actor)
        end
        to[#to + 1], to[#to + 2], sent = slug, copy, sent + 1
      end
    end
  end
  log_event(id, "broadcast", q.slug, 0, actor, (#guests.list + #guests.late) / 2 .. " copies")
  return guests
end

-- The copies go where the message would have gone, each in its own queue.
local function spread(c, guests, envelope, r)
  local copy, set, score_there = {}, c.to_set, c.score
  for field, value in ipairs(c.record) do
    copy[field] = value
  end
  copy[R_SHARED], c.record[R_SHARED] = c.id, c.id
  place_copies(copy, guests.list, set, score_there)
  for i = 1, #guests.late, 2 do
    local late = { unpack(copy) }
    late[R_QUEUE] = guests.late[i]
    bury(change(guests.late[i + 1], late), "overflow")
  end
  for _, list in ipairs(r and { guests.list, guests.late } or {}) do
    for i = 2, #list, 2 do
      r.overlay_too(list[i])
    end
  end
  shares[c.id] = 1 + (#guests.list + #guests.late) / 2
  shared[#shared + 1], shared[#shared + 2] = c.id, envelope
  finish(c, S_COMPLETED)
end

local function write_broadcast(records)
  local filled = #records
  for i = 1, #copy_records do
    records[filled + i] = copy_records[i]
  end
  if #shared > 0 then
    redis.call("HSET", SCOPE_ROOT .. ":shared", unpack(shared))
    write_shares()
  end
end
