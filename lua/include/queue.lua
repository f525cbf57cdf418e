-- A queue of this scope by its slug, and the keys of its sets, which are named when they are first needed.
local queues_by_slug = {}

local function queue(slug)
  local q = queues_by_slug[slug]
  if not q then
    q = { slug = slug, root = SCOPE_ROOT .. ":q:" .. slug, keys = {} }
    queues_by_slug[slug] = q
  end
  return q
end

local function set_key(q, set)
  local key = q.keys[set]
  if not key then
    key = q.root .. ":" .. set
    q.keys[set] = key
  end
  return key
end
