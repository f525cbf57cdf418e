-- The leases that a claim id was given and that still hold, as a run of claim; nil where there are none.
-- @include token_bytes
local function replay_claim(key)
  local given = redis.call("GET", key)
  if not given then
    return nil
  end
  local token, joined = given:match("^(%S+) (.*)$")
  local ids, run = {}, { token = token, ids = {}, raws = {}, lease_end = 0 }
  for at = 1, #joined, 36 do
    ids[#ids + 1] = joined:sub(at, at + 35)
  end
  for i, raw in ipairs(redis.call("HMGET", STATE_KEY, unpack(ids))) do
    -- A lease that this very call took back is held no more, whatever is still stored.
    local taken_back = changing and changing.changed[ids[i]]
    if raw and not taken_back and raw:byte(1) == S_CLAIMED and raw:sub(3, 11) == token_bytes(token) then
      local n, due = #run.ids + 1, struct.unpack(">I6", raw, 21)
      run.ids[n], run.raws[n] = ids[i], raw
      run.lease_end = n == 1 and due or math.min(run.lease_end, due)
    end
  end
  return run.ids[1] and run
end
