-- A request with a claim key: where the key holds leases it is given those again, and where an earlier request of this
-- call has the same key, it shares that one's answer.
-- @include replay_claim
local function read_keyed_request(r, index)
  local key = KEYS[ITEM_KEYS + index]
  r.key, r.same = key, by_key[key]
  if not r.same then
    by_key[key], r.held = #requests + 1, replay_claim(key)
  end
  if r.same or r.held then
    r.want = 0
    r.runs[1] = r.held
  end
end
