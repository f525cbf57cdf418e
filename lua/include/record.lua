-- The state record: a msgpack array, one per live message. New fields go last, with a default.
local R_QUEUE, R_STATE, R_ATTEMPTS, R_SEQ, R_RANK, R_DEADLINE, R_EXPIRES, R_SIZE = 1, 2, 3, 4, 5, 6, 7, 8
local R_TOKEN, R_HOLDER, R_VERB, R_EPOCH, R_N, R_RETRIES, R_CREATED = 9, 10, 11, 12, 13, 14, 15
local R_FLAGS, R_DUE, R_UPDATED, R_ORIGIN = 16, 17, 18, 19
local S_SCHEDULED, S_PENDING, S_CLAIMED, S_REVIEW, S_COMPLETED, S_EXPIRED, S_CANCELLED = 1, 2, 3, 4, 5, 6, 7
local F_OVERLAY, F_OUTCOME, F_CANCEL = 1, 2, 4
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
local SETS = { "scheduled", "pending", "claimed", "review" } -- the set that holds a message of that state
