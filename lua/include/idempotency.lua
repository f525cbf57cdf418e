-- What was published before under an idempotency key, with its digest.
local keys_now, keys_used = {}, {}

-- The reply for an item whose key was used, or nil.
local function key_owner(o)
  local key = o.idem > 0 and KEYS[ITEM_KEYS + o.idem]
  local value = key and (keys_now[key] or redis.call("GET", key))
  if value then
    local owner, digest = value:match("^(%S+) (.*)$")
    return { digest == (o.digest or "") and "DUPLICATE" or "CONFLICT", owner }
  end
  return nil
end

local function remember_key(id, o)
  local key = KEYS[ITEM_KEYS + o.idem]
  if o.idem > 0 then
    keys_now[key] = id .. " " .. (o.digest or "")
    keys_used[#keys_used + 1] = { key, o.idem_ms or 86400000 }
  end
end

local function write_keys()
  for i = 1, #keys_used do
    redis.call("SET", keys_used[i][1], keys_now[keys_used[i][1]], "PX", keys_used[i][2])
  end
end
