-- The subscriptions of a broadcast queue, compiled. `list`: flat, four to each: its queue, its id, the row at which its
-- filter begins (0: it wants all), its dedup window in ms. `fields` and `rows` as those of rule_program, where -1 says
-- that it wants the message and 0 that it doesn't.
-- @include rule_test
-- @include rule_fields
local function subscriptions(q)
  if not q.subscriptions then
    local packed = redis.call("GET", q.root .. ":subscriptions")
    q.subscriptions = packed and cmsgpack.unpack(packed) or { list = {} }
  end
  return q.subscriptions
end

-- `asked` and `found` belong to the message `m`: what one filter has asked for another knows.
local function wants(program, at, m, asked, found)
  local rows = program.rows
  while at > 0 do
    local field = rows[at]
    if not asked[field] then
      asked[field], found[field] = true, field_value(m, program.fields[field])
    end
    at = rows[at + (passes(found[field], rows[at + 1], rows[at + 2]) and 3 or 4)]
  end
  return at < 0
end
