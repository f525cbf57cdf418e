-- The envelope of a record that shares one with others.
-- @include record
local function shared_envelope(packed)
  local flags, at = packed:byte(35), 56 + packed:byte(55)
  if bit.band(flags, F_LIMITS) ~= 0 then
    at = at + 12
  end
  if bit.band(flags, F_ORIGIN) ~= 0 then
    at = at + 2 + struct.unpack(">I2", packed, at)
  end
  return redis.call("HGET", SCOPE_ROOT .. ":shared", packed:sub(at, at + 35))
end
