-- Names of states, and the set that holds a message of that state.
-- @include record
local STATES = {
  "scheduled",
  "pending",
  "claimed",
  "awaiting_review",
  "completed",
  "expired",
  "cancelled",
  "archived",
  "transferring",
}
local SETS = { "scheduled", "pending", "claimed", "review" }
