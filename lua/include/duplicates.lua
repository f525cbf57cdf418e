-- What was published before: by id, or by idempotency key with its digest.
local keys_now, keys_used = {}, {}

-- The ids of this call that exist already.
local function load_ids()
  local ids, known = {}, {}
  for at = FIRST, #ARGV, STRIDE do
    ids[#ids + 1] = ARGV[at + A_ID]
  end
  local found = redis.call("HMGET", STATE_KEY, unpack(ids))
  for i = 1, #ids do
    if found[i] then
      known[ids[i]] = true
    end
  end
  return known
end

-- The reply for an item that repeats an earlier publish, or nil.
local function duplicate(known, id, at)
  local place = ARGV[at + A_IDEM]
  if place ~= "" and place ~= "0" then
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
  local place = ARGV[at + A_IDEM]
  if place ~= "" and place ~= "0" then
    local key = KEYS[ITEM_KEYS + place]
    keys_now[key] = id .. " " .. ARGV[at + A_DIGEST]
    keys_used[#keys_used + 1] = { key, tonumber(ARGV[at + A_IDEM_MS]) or 86400000 }
  end
end

local function write_keys()
  for i = 1, #keys_used do
    redis.call("SET", keys_used[i][1], keys_now[keys_used[i][1]], "PX", keys_used[i][2])
  end
end
