-- The reply where rules make more of a call's items than one call may write: nothing has been written.
local function split()
  local refused = { { "OK", "" } }
  for i = 1, #IDS do
    refused[i + 1] = { "SPLIT" }
  end
  return refused
end
