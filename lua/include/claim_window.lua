-- The next messages of a queue in its order: what `pending` holds, and what this very call sent back to it.
-- A used-up window is followed by the next one; many expired messages on the way end the call instead.
-- @include record
local changing, settling

-- A member whose record says that it is elsewhere is removed.
local function next_window(q)
  local key, seen = q.root .. ":pending", q.seen or 0
  local members = redis.call("ZRANGE", key, seen, seen + q.size - 1)
  local stored = #members > 0 and redis.call("HMGET", STATE_KEY, unpack(members)) or {}
  local there, last, ids, raws, n = string.char(#q.slug) .. q.slug, 55 + #q.slug, {}, {}, 0
  for i, id in ipairs(members) do
    local raw = stored[i]
    local here = raw and raw:byte(1) == S_PENDING and raw:sub(55, last) == there
    if here and not (changing and changing.changed[id]) then
      n = n + 1
      ids[n], raws[n] = id, raw
    else
      redis.call("ZREM", key, id)
    end
  end
  q.ids, q.raws, q.returned, q.at, q.seen, q.more = ids, raws, nil, 1, seen + n, #members == q.size
  if changing then
    changing.merge(q)
  end
end

-- When a message expires, ms; 0: it doesn't.
local function expires_at(raw)
  if bit.band(raw:byte(35), F_LIMITS) == 0 then
    return 0
  end
  return (struct.unpack(">I6", raw, 62 + raw:byte(55)))
end

-- True where the queue has a next message that may be handed out; those whose time has passed expire on the way.
local function has_next(q)
  repeat
    local many
    for at = q.at, #q.ids do
      local expires = expires_at(q.raws[at])
      if expires == 0 or expires > now then
        q.at = at
        return true
      end
      many = not settling().expire(q, at)
    end
    q.at = #q.ids + 1
    if not q.more or many then
      return false
    end
    next_window(q)
  until false
end
