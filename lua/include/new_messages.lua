-- Stores accepted items: journals them, then makes each one's record and envelope and sends it to its place.
local function number(text, default)
  return text ~= "" and tonumber(text) or default
end

local function target_of(target, at)
  -- An overflowing queue sends what it can't hold to the dead letter.
  return target.slug ~= QUEUES[ARGV[at + A_QUEUE]] and "dead_lettered" or "published"
end

local function log_published(begins, targets)
  for i = 1, #begins do
    local at, target = begins[i], targets[i]
    local name = target_of(target, at)
    local detail = name == "dead_lettered" and "overflow" or ""
    log_event(ARGV[at + A_ID], name, target.slug, 0, ARGV[at + A_ACTOR], detail)
  end
end

local function expiry(at, deadline)
  local ttl_ms = number(ARGV[at + A_TTL_MS])
  if not ttl_ms then
    return deadline
  end
  return deadline > 0 and math.min(now + ttl_ms, deadline) or now + ttl_ms
end

local function place(c, target, at)
  local record, review_ms = c.record, number(ARGV[at + A_REVIEW_MS])
  if target_of(target, at) == "dead_lettered" then
    bury(c, "overflow")
  elseif review_ms then
    record[R_STATE], record[R_DUE] = S_REVIEW, now + review_ms
    c.to, c.to_set, c.score = target, "review", now + review_ms
  else
    enter(c, target, now + number(ARGV[at + A_DELAY_MS], 0))
  end
end

local function store(begins, targets, places, replies, published)
  local seq, envelopes, c = redis.call("HINCRBY", META_KEY, "seq", #begins) - #begins, {}, {}
  log_published(begins, targets)
  local entry = commit("p", published, function(records, epoch_number, n)
    local filled = #records
    for i = 1, #begins do
      local at, target = begins[i], targets[i]
      local id, header, deadline = ARGV[at + A_ID], ARGV[at + A_HEADER], number(ARGV[at + A_DEADLINE], 0)
      local envelope = struct.pack(">I4", #header) .. header .. ARGV[at + A_BODY]
      local rank, retries = number(ARGV[at + A_RANK], 2500), number(ARGV[at + A_MAX_RETRIES], -1)
      -- stylua: ignore
      local record = {
        QUEUES[ARGV[at + A_QUEUE]], S_PENDING, 0, seq + i, rank, deadline, expiry(at, deadline), #envelope,
        "", "", "", epoch_number, n, retries, now, 0, 0, now, {},
      }
      c.record = record
      place(c, target, at)
      arrive(id, record, c.to, c.to_set, c.score)
      records[filled + 2 * i - 1], records[filled + 2 * i] = id, cmsgpack.pack(record)
      envelopes[2 * i - 1], envelopes[2 * i] = id, envelope
      replies[places[i]] = { "OK", id, seq + i, STATES[record[R_STATE]], now }
    end
  end)
  redis.call("HSET", BODY_KEY, unpack(envelopes))
  return entry
end
