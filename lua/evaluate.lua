#!lua flags=no-writes
--[[
evaluate: what a scope's routing rules would make of messages that come one after the other. Nothing is written.

@keys shard epoch
@keys scope meta rules body
@keys queue meta pending scheduled
@arg trigger word(published,failed,dead_lettered,completed,expired) what happens to them in the queue
@item id uuid the message
@item envelope bytes? header, newline, body; empty: those of the stored message
@item overlay bytes? what rules have changed of it
@item rank int(0,5000) tier * 1000 + score
@item attempts int(0,65535) how often it has been claimed
@item values text(16384)? what rules ask of the body, as with publish
@reply OK matched queue ended rank delay_ms expires overlay steps copies review_ms: review_ms 0 where no rule asks a human; queue empty where it stays; ended: "archived", the dead letter's reason, or empty; steps: event, queue, detail, rule id; copies: id, queue, ended, steps
@complexity O(items * rules)
@journal none
@since 0.2.0
]]
-- @arguments
-- @include ready
-- @include clock
-- @include queue
-- @include follow_rules
-- @include object_text
local TRIGGERS = { published = "p", failed = "f", dead_lettered = "d", completed = "c", expired = "x" }

local function given(at, argument)
  local value = ARGV[at + argument]
  return value ~= "" and value or nil
end

local function ended(out)
  return out.dead or (out.archived and "archived") or ""
end

local function place(out)
  return out.to and out.to.slug or ""
end

local replies = { { "OK", "" } }
for i, id in ipairs(IDS) do
  local at = FIRST + (i - 1) * STRIDE
  local overlay, values = given(at, A_OVERLAY), given(at, A_VALUES)
  local m = { id = id, stored = id, envelope = given(at, A_ENVELOPE), expires = 0, cause = A_TRIGGER }
  m.rank, m.attempts = tonumber(ARGV[at + A_RANK]), tonumber(ARGV[at + A_ATTEMPTS])
  m.overlay, m.values = overlay and decoded(overlay), values and decoded(values)
  m.hops = m.overlay and tonumber(m.overlay.hops)
  local out = follow_rules(m, TRIGGERS[A_TRIGGER], queue(QUEUES[1]), {})
  local copies = {}
  for k, child in ipairs(out.copies) do
    copies[k] = { child.id, place(child.out), ended(child.out), child.out.log }
  end
  local reply = { "OK", out.matched and 1 or 0, place(out), ended(out), m.rank, m.delay or 0, m.expires }
  reply[8], reply[9], reply[10] = m.overlay and object_text(m.overlay) or "", out.log, copies
  reply[11] = m.review or 0
  replies[i + 1] = reply
end
return replies
