-- A table of names as JSON, the names in order: every server writes the same.
local function object_text(value)
  if type(value) ~= "table" then
    return cjson.encode(value)
  end
  local names, parts = {}, {}
  for name in pairs(value) do
    names[#names + 1] = name
  end
  table.sort(names)
  for i, name in ipairs(names) do
    parts[i] = cjson.encode(name) .. ":" .. object_text(value[name])
  end
  return "{" .. concat(parts, ",") .. "}"
end
