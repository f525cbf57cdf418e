#!lua flags=no-writes
--[[
evaluate: what a scope's routing rules would make of a message. Nothing is written.

@keys shard epoch
@keys scope meta rules body
@keys queue meta pending scheduled
@arg trigger word(p,f,d,c,x) published, failed, dead-lettered, completed, expired
@arg id uuid the message
@arg envelope bytes? header, newline, body; empty: those of the stored message
@arg overlay bytes? what rules have changed of it
@arg rank int(0,5000) tier * 1000 + score
@arg attempts int(0,65535) how often it has been claimed
@arg values text(16384)? what rules ask of the body, as with publish
@reply OK matched queue ended rank delay_ms expires overlay steps copies: queue empty where it stays; ended: "archived", the dead letter's reason, or empty; steps: event, queue, detail, rule id; copies: id, queue, ended, steps
@complexity O(rules)
@journal none
@since 0.2.0
]]
-- @arguments
-- @include ready
-- @include clock
-- @include queue
-- @include follow_rules
local m = {
  id = A_ID,
  stored = A_ID,
  envelope = A_ENVELOPE ~= "" and A_ENVELOPE or nil,
  rank = tonumber(A_RANK),
  attempts = tonumber(A_ATTEMPTS),
  expires = 0,
  overlay = A_OVERLAY ~= "" and decoded(A_OVERLAY) or nil,
  values = A_VALUES ~= "" and decoded(A_VALUES) or nil,
  cause = A_TRIGGER,
}
m.hops = m.overlay and tonumber(m.overlay.hops)
local out = follow_rules(m, A_TRIGGER, queue(QUEUES[1]), {})
local function ended(o)
  return o.dead or (o.archived and "archived") or ""
end
local copies = {}
for i, child in ipairs(out.copies) do
  local to = child.out.to and child.out.to.slug or ""
  copies[i] = { child.id, to, ended(child.out), child.out.log }
end
local overlay = m.overlay and cjson.encode(m.overlay) or ""
local to = out.to and out.to.slug or ""
local reply = { "OK", out.matched and 1 or 0, to, ended(out), m.rank, m.delay or 0, m.expires, overlay }
reply[9], reply[10] = out.log, copies
return { { "OK", "" }, reply }
