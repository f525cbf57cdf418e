-- True where the scope has routing rules for a trigger: p published, f failed, d dead-lettered, c completed,
-- x expired. `rules_index`: version, hops at most, matches at most, then of each trigger where its rules lie.
local rules_index

local function rules_for(trigger)
  rules_index = rules_index or redis.call("HGET", SCOPE_ROOT .. ":meta", "rules") or ""
  return rules_index:find(" " .. trigger .. ":", 1, true)
end
