-- The compiled rules of a trigger, read when they are first asked for; nil where there are none.
-- `fields`: what is tested; `rows`: flat, five to a test: field, operator, value, where to go on if it holds, and if not
-- (n: the row that begins there; -n: rule n matches; 0: none does); `rules`: their JSON in a row; `places`: of each rule
-- where to go on if it may not act, and its JSON's first and last byte.
-- @include rules_for
local programs = {}

local function rule_program(trigger)
  local program = programs[trigger]
  if program == nil then
    program = false
    if rules_for(trigger) then
      local first, last = rules_index:match(" " .. trigger .. ":(%d+):(%d+)")
      program = cmsgpack.unpack(redis.call("GETRANGE", SCOPE_ROOT .. ":rules", first, last))
    end
    programs[trigger] = program
  end
  return program or nil
end

local function rule_at(program, number)
  local read, at = program.read or {}, 3 * number
  if not read[number] then
    read[number] = cjson.decode(program.rules:sub(program.places[at - 1], program.places[at]))
    program.read = read
  end
  return read[number]
end

-- Hops that a message may make, and matches that a rule may have within its breaker's window.
local function rule_limits()
  local hops, matches = rules_index:match("^%d+ (%d+) (%d+)")
  return tonumber(hops), tonumber(matches)
end
