-- What this call asks for: a request whose claim key holds leases is given those again, and one that repeats
-- the claim key of an earlier request shares that one's answer. Returns how many new messages are wanted, too.
-- @include replay_claim
local function read_requests()
  local requests, by_key, wanted = {}, {}, 0
  for at = FIRST, #ARGV, STRIDE do
    local index = tonumber(ARGV[at + A_CLAIM]) or 0
    local key = index > 0 and KEYS[ITEM_KEYS + index] or nil
    local same = key and by_key[key]
    local held = key and not same and replay_claim(key) or nil
    local want = (same or held) and 0 or tonumber(ARGV[at + A_WANT])
    requests[#requests + 1] =
      { at = at, key = key, same = same, held = held, want = want, leases = held or {} }
    by_key[key or ""] = by_key[key or ""] or #requests
    wanted = wanted + want
  end
  return requests, wanted
end
