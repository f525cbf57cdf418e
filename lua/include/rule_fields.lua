-- What rules can ask of a message `m`: its header with the overlay over it, its numbers, and paths into its body.
-- A part that is null or not of the form expected is absent.
local MOST_BODY = 65536 -- larger bodies are not decoded here, but counted
local bodies_skipped = 0

local function decoded(text)
  local read, value = pcall(cjson.decode, text)
  return read and type(value) == "table" and value or {}
end

local function envelope_of(m)
  m.envelope = m.envelope or redis.call("HGET", SCOPE_ROOT .. (m.shared or ":body"), m.stored) or "{}\n"
  return m.envelope
end

local function header_size(m)
  return (envelope_of(m):find("\n", 1, true) or #m.envelope + 1) - 1
end

local function header_value(m, name)
  local value = m.overlay and m.overlay[name]
  if value == nil then
    m.header = m.header or decoded(envelope_of(m):sub(1, header_size(m)))
    value = m.header[name]
  end
  return value
end

-- Goes down from a value by the segments of `spec` from `first` on; one of digits may count in an array, from 0.
local function descend(value, spec, first)
  for i = first, #spec do
    if type(value) ~= "table" then
      return nil
    end
    local inner = value[spec[i]]
    if inner == nil and spec[i]:find("^%d+$") then
      inner = value[tonumber(spec[i]) + 1]
    end
    value = inner
  end
  return value
end

-- The caller may have sent along what rules ask of bodies; else they are decoded here, up to a size.
local function body_value(m, spec)
  local sent = m.values and m.values[spec[2]]
  if sent ~= nil then
    return sent
  end
  if not m.body then
    local start = header_size(m) + 2
    if #m.envelope - start + 1 <= MOST_BODY then
      m.body = decoded(m.envelope:sub(start))
    else
      m.body, bodies_skipped = {}, bodies_skipped + 1
    end
  end
  return descend(m.body, spec, 3)
end

local function field_value(m, spec)
  local kind = spec[1]
  local tier = math.min(4, math.floor(m.rank / 1000))
  if kind == "h" then
    local value = descend(header_value(m, spec[2]), spec, 3)
    return type(value) == "string" and value or nil
  elseif kind == "b" then
    local value = body_value(m, spec)
    return value ~= cjson.null and value or nil
  elseif kind == "q" then
    return m.queue
  elseif kind == "t" then
    return tier
  elseif kind == "s" then
    return m.rank - tier * 1000
  elseif kind == "a" then
    return m.attempts
  end
  return m.size or #envelope_of(m) - header_size(m) - 1
end
