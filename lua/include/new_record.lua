-- A new message's record, sent to its place; with it the envelope: header length, header, body.
-- @include bury
local function new_record(m, seq)
  local at = m.at
  local header, body = ARGV[at + A_HEADER], ARGV[at + A_BODY]
  local envelope = struct.pack(">I4", #header) .. header .. body
  local ttl_ms, deadline = tonumber(ARGV[at + A_TTL_MS]), tonumber(ARGV[at + A_DEADLINE]) or 0
  local expires = ttl_ms and now + ttl_ms or deadline
  if deadline > 0 then
    expires = math.min(expires, deadline)
  end
  local rank = tonumber(ARGV[at + A_RANK]) or 2500
  local retries = tonumber(ARGV[at + A_MAX_RETRIES]) or -1
  -- stylua: ignore
  local record = {
    m.q.slug, S_PENDING, 0, seq, rank, deadline, expires, #envelope,
    "", "", "", 0, 0, retries, now, 0, 0, now, {},
  }
  local c, review_ms = change(m.id, record), tonumber(ARGV[at + A_REVIEW_MS])
  if m.target ~= m.q then
    bury(c, "overflow")
    event(c, "dead_lettered", ARGV[at + A_ACTOR], "overflow")
    return c, envelope
  elseif review_ms then
    record[R_STATE], record[R_DUE] = S_REVIEW, now + review_ms
    c.to, c.to_set, c.score = m.q, "review", now + review_ms
  else
    enter(c, m.q, now + (tonumber(ARGV[at + A_DELAY_MS]) or 0))
  end
  event(c, "published", ARGV[at + A_ACTOR])
  return c, envelope
end
