-- The state record: one string per live message, numbers of fixed width first; lua/README.md lists its bytes.
-- A script that needs few of them cuts them from the string; others read it into a table with the fields R_….
local R_STATE, R_VERB, R_TOKEN_EPOCH, R_TOKEN, R_EPOCH, R_N, R_DUE, R_UPDATED = 1, 2, 3, 4, 5, 6, 7, 8
local R_ATTEMPTS, R_FLAGS, R_SEQ, R_RANK = 9, 10, 11, 12
local R_SIZE, R_RETRIES, R_CREATED, R_QUEUE = 13, 14, 15, 16
local R_DEADLINE, R_EXPIRES, R_ORIGIN, R_HOLDER, R_SHARED = 17, 18, 19, 20, 21
local S_SCHEDULED, S_PENDING, S_CLAIMED, S_REVIEW, S_COMPLETED, S_EXPIRED, S_CANCELLED = 1, 2, 3, 4, 5, 6, 7
local S_ARCHIVED = 8
local V_NONE, V_COMPLETE, V_FAIL, V_RELEASE, V_EXTEND, V_ESCALATE = 0, 1, 2, 3, 4, 5
local F_OVERLAY, F_OUTCOME, F_CANCEL, F_LIMITS, F_ORIGIN, F_SHARED = 1, 2, 4, 32, 64, 128
local QUEUES_RETRIES = 255 -- R_RETRIES of a message that names none: its queue's hold
