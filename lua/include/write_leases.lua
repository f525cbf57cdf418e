-- Numbers the new leases, commits them, and notes what each claim id was given for as long as the lease.
-- @include commit
-- @include next_due
local function write_leases(leased, requests)
  if #leased > 0 then
    local counter = redis.call("HINCRBY", META_KEY, "token", #leased) - #leased
    for i, c in ipairs(leased) do
      c.record[R_TOKEN] = epoch .. string.format(".%.0f", counter + i)
    end
  end
  local entry = commit()
  for _, q in pairs(queues_by_slug) do
    if q.settled then
      next_due(q)
    end
  end
  for _, r in ipairs(requests) do
    if r.key and not r.held and #r.leases > 0 then
      local given, last = {}, 0
      for i, c in ipairs(r.leases) do
        given[2 * i - 1], given[2 * i] = c.id, c.record[R_TOKEN]
        last = math.max(last, c.record[R_DUE])
      end
      redis.call("SET", r.key, cmsgpack.pack(given), "PX", math.max(1, last - now))
    end
  end
  return entry
end
