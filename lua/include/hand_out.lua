-- Claimed messages as the caller gets them: id, token, lease end, record, envelope, overlay, outcome.
-- @include record
local function extras(key, flag, leases)
  local found, ids = {}, {}
  for _, c in ipairs(leases) do
    if bit.band(c.record[R_FLAGS], flag) ~= 0 then
      ids[#ids + 1] = c.id
    end
  end
  if #ids > 0 then
    for i, value in ipairs(redis.call("HMGET", key, unpack(ids))) do
      found[ids[i]] = value
    end
  end
  return found
end

local function hand_out(leases)
  if #leases == 0 then
    return {}
  end
  local ids, messages = {}, {}
  for i, c in ipairs(leases) do
    ids[i] = c.id
  end
  local envelopes = redis.call("HMGET", BODY_KEY, unpack(ids))
  local overlays, results = extras(OVERLAY_KEY, F_OVERLAY, leases), extras(OUTCOME_KEY, F_OUTCOME, leases)
  for i, c in ipairs(leases) do
    local id, record = c.id, c.record
    local packed = c.packed or cmsgpack.pack(record)
    messages[i] =
      { id, record[R_TOKEN], record[R_DUE], packed, envelopes[i], overlays[id] or "", results[id] or "" }
  end
  return messages
end
