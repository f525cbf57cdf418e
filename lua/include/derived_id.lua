-- The id of a copy: the time of its parent's, and a hash of the parent, the copy's queue, and what led to it.
local function derived_id(parent, slug, cause)
  local h = redis.sha1hex(parent .. " " .. slug .. " " .. cause)
  local variant = string.format("%x", 8 + tonumber(h:sub(4, 4), 16) % 4)
  return parent:sub(1, 13) .. "-7" .. h:sub(1, 3) .. "-" .. variant .. h:sub(5, 7) .. "-" .. h:sub(8, 19)
end
