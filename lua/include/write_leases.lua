-- Numbers the requests that got messages, writes their leases, and notes what each claim id was given for as long
-- as the lease. A token belongs to a request: all that it was given.
local function add_leases(records, r, n, claimed)
  for _, run in ipairs(r.runs) do
    local lease_end, raws, tries, holder, filled = run.lease_end, run.raws, run.tries, r.holder, #records
    local members = claimed[run.q] or { soonest = lease_end }
    local at = #members
    claimed[run.q], members.soonest = members, math.min(members.soonest, lease_end)
    local numbers =
      struct.pack(">BBI3I6I3I6I6I6", S_CLAIMED, V_NONE, epoch, r.counter, epoch, n, lease_end, now)
    local first = numbers .. "\0\1"
    for i, id in ipairs(run.ids) do
      local start = tries[i] == 1 and first or numbers .. struct.pack(">I2", tries[i])
      local raw = start .. raws[i]:sub(35) .. holder
      raws[i] = raw
      records[filled + 1], records[filled + 2], filled = id, raw, filled + 2
      members[at + 1], members[at + 2], at = lease_end, id, at + 2
    end
  end
end

local function write_leases(requests, open)
  local given, entry, n = {}, "", nil
  for _, r in ipairs(requests) do
    if r.count > 0 then
      given[#given + 1] = r
    end
  end
  if #given > 0 then
    local counter = redis.call("HINCRBY", META_KEY, "token", #given) - #given
    for i, r in ipairs(given) do
      r.counter, r.token = counter + i, epoch .. string.format(".%.0f", counter + i)
    end
  end
  if #groups > 0 then
    if changing then
      entry, n = journal(changing.spawn())
    else
      entry, n = journal()
    end
  end
  local records, claimed = {}, {}
  if changing then
    changing.gather(records, n)
    changing.removals()
  end
  for _, r in ipairs(given) do
    add_leases(records, r, n, claimed)
  end
  if #records > 0 then
    redis.call("HSET", STATE_KEY, unpack(records))
  end
  for q, members in pairs(claimed) do
    if q.popped > 0 then
      redis.call("ZREMRANGEBYRANK", q.root .. ":pending", 0, q.popped - 1)
    end
    redis.call("ZADD", q.root .. ":claimed", unpack(members))
    redis.call("ZADD", DUE_KEY, "LT", members.soonest, q.root)
  end
  if changing then
    changing.additions()
    for _, q in ipairs(open) do
      if q.settled then
        changing.next_due(q)
      end
    end
  end
  for _, r in ipairs(given) do
    if r.key then
      local ids, last = {}, now + 1
      for i, run in ipairs(r.runs) do
        ids[i], last = concat(run.ids), math.max(last, run.lease_end)
      end
      redis.call("SET", r.key, r.token .. " " .. concat(ids), "PX", last - now)
    end
  end
  return entry
end
