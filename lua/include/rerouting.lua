-- Routing rules at a message's failure, end or expiry: defined when a scope has a rule for it.
-- @include changes
-- @include bury
-- @include rules_for
local function rerouting()
  if not routing then
    -- @include reroute
    routing =
      { follow = follow, reroute = reroute, copies = copies, spawn = spawn_copies, write = write_routing }
  end
  return routing
end

-- True where a rule has placed the message, or ended it; what is in the dead letter meets none. `name`, `actor`, `detail`: the event that led to it.
local function rules_move(trigger, c, q, name, actor, detail)
  return q.slug ~= "_dead_letter"
    and rules_for(trigger)
    and rerouting().reroute(trigger, c, q, name, actor, detail)
end

-- Its time is over: it ends, unless a rule sends it on. Returns the event's name.
local function end_expired(c, q, actor, detail)
  if rules_move("x", c, q, "expired", actor, detail) then
    return "expired"
  end
  finish(c, S_EXPIRED)
  event(c, "expired", actor, detail)
  return "expired"
end

-- What rules add to the journal entry, once the copies that they asked for are messages.
local function spawn_for_rules()
  if routing then
    return routing.spawn()
  end
end
