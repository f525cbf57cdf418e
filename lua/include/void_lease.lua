-- A message that was claimed when Redis was lost: its lease is void, a cancel request is granted.
-- @include changes
local function void_lease(c, q)
  local record = c.record
  record[R_HOLDER] = ""
  if bit.band(record[R_FLAGS], F_CANCEL) ~= 0 then
    finish(c, S_CANCELLED)
    event(c, "cancelled", "", "lease_lost")
  else
    enter(c, q, now)
    event(c, "restored", "")
  end
end
