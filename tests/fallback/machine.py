"""The state machine of the scripts with the rows in the place of Redis: the verbs they answer, and time."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from scaiqueue.fallback.members import Kind
from scaiqueue.keys import ScopeKeys
from scaiqueue.records import decode_outcome, decode_record
from scaiqueue.rows.history import parse
from scaiqueue.scripts.replies import parse_reply
from scaiqueue.scripts.runner import Call
from tests.fallback.ground import Ground
from tests.scripts.direct import handed_out
from tests.scripts.machine import Machine
from tests.scripts.machine_base import QUEUES, SHARD, START, picks, scopes
from tests.scripts.model import Model
from tests.scripts.model_parts import Scope

# A row holds whole seconds.
SETTINGS = {**QUEUES, "dates": {**QUEUES["dates"], "visibility_ms": "1000"}}


class RowsMachine(Machine):
    """One shard with two scopes of the same queues. `loop` runs what is asynchronous."""

    ground: Ground
    loop: asyncio.Runner

    def __init__(self) -> None:
        RuleBasedStateMachine.__init__(self)
        self.loop.run(self.ground.empty())
        self.model = Model(START)
        self.keys = [ScopeKeys(SHARD, "acme", "0"), ScopeKeys(SHARD, "bolt", "1")]
        self.ids = self.versions = self.seen = self.steps = 0
        for keys in self.keys:
            self.model.scopes[keys.root] = Scope(keys.root)
            self.set_scope_state(keys, "active")
            for slug, fields in SETTINGS.items():
                self.configure_queue(self.scope_of(keys), slug, {"state": "active", **fields})

    def call(self, call: Call) -> list[list[Any]]:
        name, keys, args = call
        arguments = list(args)
        arguments[1] = self.model.now
        return parse_reply(self.loop.run(self.ground.run(name, keys, arguments))).items

    @invariant()
    def every_key_is_as_in_the_model(self) -> None:
        for keys in self.keys:
            self._check(self.scope_of(keys), keys.scope_id)
        self.seen = len(self.model.journal)
        self.steps += 1

    def _check(self, scope: Scope, scope_id: str) -> None:
        found = self.loop.run(self.ground.stored(scope_id))
        assert sorted(found) == sorted(scope.messages)
        for id, m in scope.messages.items():
            row = found[id]
            assert row.record == m.record, f"{id}: {row.record!r} instead of {m.record!r}"
            assert row.envelope == m.envelope
            assert tuple(row.outcome) == (m.outcome or (b"", "")), id
            assert [tuple(t)[:5] for t in map(_values, parse(row.history))] == [
                line for entry in self.model.journal for line in entry.events.get(id, [])
            ], id
        members = self.loop.run(self.ground.members(scope_id))
        for slug in self.loop.run(self.ground.kept(scope_id)):
            sets = {Kind[name].value: ids for name, ids in scope.sets(slug).items()}
            assert {kind: members.get((slug, kind), {}) for kind in sets} == sets, slug

    def messages_are_whole(self, scope: Scope, reply: list[Any]) -> None:
        extras = reply[3] if len(reply) > 3 else []
        outcomes = {extras[at].decode(): decode_outcome(extras[at + 2]) for at in range(0, len(extras), 3)}
        for id, token, record, envelope in handed_out(reply):
            m = scope.messages[id.decode()]
            assert (token.decode(), envelope) == (m.record.token, m.envelope)
            assert decode_record(record).token == m.record.token
            assert tuple(outcomes.get(m.id, (b"", ""))) == (m.outcome or (b"", ""))

    @rule(number=scopes, place=picks, limit=st.sampled_from([1, 100]))
    def sweep(self, number: int, place: int, limit: int) -> None:  # type: ignore[override]
        """Of a queue that something was claimed from: the others are settled when they are claimed from."""
        scope, keys = self.scope(number), self.keys[number]
        kept = sorted(self.loop.run(self.ground.kept(keys.scope_id)))
        if not kept:
            return
        slug = kept[place % len(kept)]
        settled, _ = self.model._settle(scope, slug, limit)
        self.model._commit("sweep", scope.root)
        assert self.loop.run(self.ground.settle(keys.queue(slug), self.model.now, limit)) == settled


def _values(transition: Any) -> tuple[Any, ...]:
    t = transition
    return t.event, t.queue, t.attempts, t.actor, t.detail
