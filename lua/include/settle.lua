-- Gives up to `limit` messages of a queue what time has brought them: a lost lease, expiry, readiness.
-- @include load_members
-- @include commit
-- @include give_back
-- @include exhausted
local function overdue(q, set, limit)
  return load_members(
    q,
    set,
    redis.call("ZRANGE", set_key(q, set), "-inf", now, "BYSCORE", "LIMIT", 0, limit)
  )
end

-- Copies that rules made have filled the call: the rest is for the next.
local function crowded()
  return routing and #changes + #routing.copies >= 1000
end

local function lose_leases(q, limit, counts)
  local ids, records = overdue(q, "claimed", limit)
  for i, id in ipairs(ids) do
    if crowded() then
      return i - 1
    end
    local record = records[i]
    local c = change(id, record, q, "claimed")
    local name = give_back(c, q, "lease_lost", "lease_lost", 0, exhausted(q, record), "")
    counts[name] = (counts[name] or 0) + 1
  end
  return #ids
end

local function expire(q, limit, counts)
  local ids, records = overdue(q, "expiry", limit)
  for i, id in ipairs(ids) do
    if crowded() then
      return i - 1
    end
    if not changed[id] then
      local c = change(id, records[i], q, SETS[records[i][R_STATE]])
      end_expired(c, q, "", "")
      counts.expired = (counts.expired or 0) + 1
    end
  end
  return #ids
end

local function promote(q, limit, counts)
  local ids, records = overdue(q, "scheduled", limit)
  for i, id in ipairs(ids) do
    if not changed[id] then
      local c = change(id, records[i], q, "scheduled")
      enter(c, q, now)
      event(c, "promoted", "")
      counts.promoted = (counts.promoted or 0) + 1
    end
  end
  return #ids
end

-- @include end_reviews
local function settle(q, limit)
  local counts, left = {}, limit
  for _, step in ipairs({ lose_leases, expire, promote, end_reviews }) do
    if left > 0 then
      left = left - step(q, left, counts)
    end
  end
  return limit - left, counts
end
