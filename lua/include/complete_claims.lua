-- Ends claimed messages with success, most of each record left as it is.
-- @include record
-- @include journal
-- `ended`: flat, id and record; `leaving`: by queue, the ids that leave its claimed set.
local ended, leaving, logged, tried, logged_holder = {}, {}, nil, nil, nil

local function accept(id, raw, slug, holder)
  local ids, n, attempts = leaving[slug], #ended, struct.unpack(">I2", raw, 33)
  if not ids then
    ids = {}
    leaving[slug], logged = ids, nil
  end
  ids[#ids + 1] = id
  if logged and attempts == tried and holder == logged_holder and groups[last_group + 1] == slug then
    logged[#logged + 1] = id
  else
    log_event(id, "completed", slug, attempts, holder, "")
    logged, tried, logged_holder = groups[last_group + 5], attempts, holder
  end
  ended[n + 1], ended[n + 2] = id, raw
end

-- Returns the journal entry. `copied`: what rules add.
local function write_completed(copied)
  local entry, n
  if copied then
    entry, n = journal(copied.spawn())
  else
    entry, n = journal()
  end
  local head, numbers = string.char(S_COMPLETED, V_COMPLETE), struct.pack(">I3I6I6I6", epoch, n, 0, now)
  for i = 2, #ended, 2 do
    local raw = ended[i]
    ended[i] = head .. raw:sub(3, 11) .. numbers .. raw:sub(33)
  end
  redis.call("HSET", STATE_KEY, unpack(ended))
  for slug, ids in pairs(leaving) do
    redis.call("ZREM", SCOPE_ROOT .. ":q:" .. slug .. ":claimed", unpack(ids))
  end
  if copied then
    copied.write(n)
  end
  return entry
end
