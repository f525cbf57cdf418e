-- Writes what restore gathered; terminal messages are in their rows and stay out of the index.
local function raise(field, floor)
  if tonumber(redis.call("HGET", META_KEY, field) or 0) < tonumber(floor) then
    redis.call("HSET", META_KEY, field, floor)
  end
end

local function write_restored(envelopes, overlays, results, gone)
  raise("seq", A_SEQ_FLOOR)
  raise("token", A_TOKEN_FLOOR)
  local entry = commit()
  for key, list in pairs({ [BODY_KEY] = envelopes, [OVERLAY_KEY] = overlays, [OUTCOME_KEY] = results }) do
    if #list > 0 then
      redis.call("HSET", key, unpack(list))
    end
  end
  if #gone > 0 then
    for _, key in ipairs({ STATE_KEY, BODY_KEY, OVERLAY_KEY, OUTCOME_KEY }) do
      redis.call("HDEL", key, unpack(gone))
    end
  end
  return entry
end
