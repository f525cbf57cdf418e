-- A state record as a table, and back.
-- @include record
-- @include states
local function read_record(raw)
  local record = { struct.unpack(">BBI3I6I3I6I6I6I2BI6I2I4BI6Bc0", raw) }
  local at, flags = record[17], record[R_FLAGS]
  record[R_DEADLINE], record[R_EXPIRES], record[R_ORIGIN], record[R_SHARED] = 0, 0, "", ""
  if bit.band(flags, F_LIMITS) ~= 0 then
    record[R_DEADLINE], record[R_EXPIRES], at = struct.unpack(">I6I6", raw, at)
  end
  if bit.band(flags, F_ORIGIN) ~= 0 then
    record[R_ORIGIN], at = struct.unpack(">I2c0", raw, at)
  end
  if flags >= F_SHARED then
    record[R_SHARED], at = raw:sub(at, at + 35), at + 36
  end
  record[R_HOLDER] = raw:sub(at)
  return record
end

local function write_record(record)
  local limits, origin, flags = "", "", bit.band(record[R_FLAGS], 31)
  if record[R_DEADLINE] > 0 or record[R_EXPIRES] > 0 then
    limits, flags = struct.pack(">I6I6", record[R_DEADLINE], record[R_EXPIRES]), flags + F_LIMITS
  end
  if record[R_ORIGIN] ~= "" then
    origin, flags = struct.pack(">I2", #record[R_ORIGIN]) .. record[R_ORIGIN], flags + F_ORIGIN
  end
  local shared = record[R_SHARED] or ""
  if shared ~= "" then
    flags = flags + F_SHARED
  end
  record[R_FLAGS] = flags
  -- stylua: ignore
  local numbers = struct.pack(">BBI3I6I3I6I6I6I2BI6I2I4BI6B", record[1], record[2], record[3], record[4], record[5],
    record[6], record[7], record[8], record[9], flags, record[11], record[12], record[13], record[14], record[15],
    #record[R_QUEUE])
  return numbers .. record[R_QUEUE] .. limits .. origin .. shared .. record[R_HOLDER]
end
