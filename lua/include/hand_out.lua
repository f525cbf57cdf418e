-- The reply to each request: word, token, the first lease's end, what few messages have besides (id, overlay, outcome),
-- then id, record and envelope of each message.
-- @include record
local function extras(ids)
  local found = {}
  if #ids > 0 then
    local overlays = redis.call("HMGET", OVERLAY_KEY, unpack(ids))
    local results = redis.call("HMGET", OUTCOME_KEY, unpack(ids))
    for i, id in ipairs(ids) do
      local at = 3 * i
      found[at - 2], found[at - 1], found[at] = id, overlays[i] or "", results[i] or ""
    end
  end
  return found
end

local function hand_out(r)
  local reply, n, lease_end, with_extras = { "OK" }, 4, nil, {}
  for _, run in ipairs(r.runs) do
    local ids, raws = run.ids, run.raws
    local envelopes = #ids > 0 and redis.call("HMGET", BODY_KEY, unpack(ids)) or {}
    for i = 1, #ids do
      local raw = raws[i]
      local envelope = envelopes[i]
      if not envelope then
        -- @include shared_envelope
        envelope = shared_envelope(raw)
      end
      reply[n + 1], reply[n + 2], reply[n + 3] = ids[i], raw, envelope
      n = n + 3
      if raw:byte(35) % 4 ~= 0 then
        with_extras[#with_extras + 1] = ids[i]
      end
    end
    lease_end = math.min(lease_end or run.lease_end, run.lease_end)
  end
  if n == 4 then
    return { "EMPTY" }
  end
  reply[2], reply[3], reply[4] = r.token or r.held.token, lease_end, extras(with_extras)
  return reply
end
