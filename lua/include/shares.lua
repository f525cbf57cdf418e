-- How many records share an envelope: it goes with the last of them.
-- @include record
local shares = {}

-- `n`: 1 for a record that comes into the index, -1 for one that leaves it.
local function share(record, n)
  local stored = record[R_SHARED] or ""
  if stored ~= "" then
    shares[stored] = (shares[stored] or 0) + n
  end
end

local function write_shares()
  for stored, n in pairs(shares) do
    if redis.call("HINCRBY", SCOPE_ROOT .. ":shares", stored, n) <= 0 then
      redis.call("HDEL", SCOPE_ROOT .. ":shares", stored)
      redis.call("HDEL", SCOPE_ROOT .. ":shared", stored)
    end
  end
end
