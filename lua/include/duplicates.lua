-- What was published before: by id, or by idempotency key with its digest.
local keys_now, key_order = {}, {}

-- The ids of this call that exist already.
local function load_ids()
  local ids, known = {}, {}
  for at = FIRST, #ARGV, STRIDE do
    ids[#ids + 1] = ARGV[at + A_ID]
  end
  for i, found in ipairs(redis.call("HMGET", STATE_KEY, unpack(ids))) do
    known[ids[i]] = found and ids[i]
  end
  return known
end

-- The reply for an item that repeats an earlier publish, or nil.
local function duplicate(known, id, at)
  local place = tonumber(ARGV[at + A_IDEM]) or 0
  if place > 0 then
    local key = KEYS[ITEM_KEYS + place]
    local value = keys_now[key] or redis.call("GET", key)
    if value then
      local owner, digest = value:match("^(%S+) (.*)$")
      return { digest == ARGV[at + A_DIGEST] and "DUPLICATE" or "CONFLICT", owner }
    end
  end
  return known[id] and { "DUPLICATE", id }
end

local function remember_key(id, at)
  local place = tonumber(ARGV[at + A_IDEM]) or 0
  if place > 0 then
    local key = KEYS[ITEM_KEYS + place]
    keys_now[key] = id .. " " .. ARGV[at + A_DIGEST]
    key_order[#key_order + 1] = { key, tonumber(ARGV[at + A_IDEM_MS]) or 86400000 }
  end
end

local function write_keys()
  for _, entry in ipairs(key_order) do
    redis.call("SET", entry[1], keys_now[entry[1]], "PX", entry[2])
  end
end
