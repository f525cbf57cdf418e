-- A queue of this scope by its slug: the names of its keys.
local queues_by_slug = {}

local function queue(slug)
  local q = queues_by_slug[slug]
  if not q then
    local root = SCOPE_ROOT .. ":q:" .. slug
    q = {
      slug = slug,
      root = root,
      pending = root .. ":pending",
      scheduled = root .. ":scheduled",
      claimed = root .. ":claimed",
      expiry = root .. ":expiry",
      review = root .. ":review",
    }
    queues_by_slug[slug] = q
  end
  return q
end
