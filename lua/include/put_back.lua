-- Puts a message where its record says, whatever sets hold it now.
-- @include void_lease
local function clear(id, slug)
  for _, set in ipairs({ "pending", "scheduled", "claimed", "expiry", "review" }) do
    put(removals, set_key(queue(slug), set), id)
  end
end

-- `lost`: the index had no record of it. `found`: what was wrong, for its history.
local function put_back(id, record, lost, found)
  local q, c = queue(record[R_QUEUE]), change(id, record)
  clear(id, q.slug)
  if lost and record[R_STATE] == S_CLAIMED then
    void_lease(c, q)
  else
    local set = SETS[record[R_STATE]]
    c.to, c.to_set = set and q, set
    c.score = set == "pending" and score(q, record) or record[R_DUE]
    event(c, "repaired", "", found)
  end
end
