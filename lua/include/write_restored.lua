-- Writes what restore gathered: flat lists of ids and contents, `shared` by the id that others refer to; terminal messages are in their rows and stay out of the index.
-- @include shares
local function raise(field, floor)
  if tonumber(redis.call("HGET", META_KEY, field) or 0) < tonumber(floor) then
    redis.call("HSET", META_KEY, field, floor)
  end
end

local function write_restored(envelopes, shared, overlays, results, gone)
  raise("seq", A_SEQ_FLOOR)
  raise("token", A_TOKEN_FLOOR)
  local entry = commit()
  local keys = { BODY_KEY, SCOPE_ROOT .. ":shared", OVERLAY_KEY, OUTCOME_KEY }
  for i, list in ipairs({ envelopes, shared, overlays, results }) do
    if #list > 0 then
      redis.call("HSET", keys[i], unpack(list))
    end
  end
  write_shares()
  if #gone > 0 then
    for _, key in ipairs({ STATE_KEY, BODY_KEY, OVERLAY_KEY, OUTCOME_KEY }) do
      redis.call("HDEL", key, unpack(gone))
    end
  end
  return entry
end
