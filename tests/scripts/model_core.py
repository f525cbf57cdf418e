"""The core of the model: a shard's state, the parts of a transition, and what time brings."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from scaiqueue.records import Flag, State
from tests.scripts.model_parts import DEAD_QUEUE, NONE, Entry, Line, Message, Scope
from tests.scripts.transitions import check_allowed

Replies = list[list[Any]]


class ModelCore:
    """One shard. `now` is the injected clock, ms."""

    def __init__(self, now: int, epoch: int = 1) -> None:
        self.now = now
        self.epoch = epoch
        self.scopes: dict[str, Scope] = {}
        self.journal: list[Entry] = []
        self.published = self.persisted = 0
        self.backlog_limit: int | None = None
        self.max_body = 262144
        self._changed: list[Message] = []
        self._lines: dict[str, list[Line]] = {}

    # The parts of a transition.

    def _event(self, m: Message, event: str, actor: str = "", detail: str = "") -> None:
        self._changed.append(m)
        line = (event, m.record.queue, m.record.attempts, actor, detail)
        self._lines.setdefault(m.id, []).append(line)

    def _enter(self, scope: Scope, m: Message, verb: str, slug: str, ready_at: int = 0) -> None:
        """To `pending` of a queue, or `scheduled` where it is to wait."""
        before, r = m.view if m.id in scope.messages else NONE, m.record
        r.queue = slug
        r.state, r.due_at = (State.scheduled, ready_at) if ready_at > self.now else (State.pending, 0)
        if r.state == State.pending:
            m.score = scope.queue(slug).score(r, self.now)
        check_allowed(before, verb, m.view)

    def _end(self, m: Message, verb: str, state: State) -> None:
        before = m.view
        m.record.state, m.record.due_at = state, 0
        check_allowed(before, verb, m.view)

    def _bury(self, scope: Scope, m: Message, verb: str, reason: str) -> None:
        r = m.record
        r.origin, r.expires_at = (r.queue, reason, r.attempts, self.now), 0
        self._enter(scope, m, verb, DEAD_QUEUE)

    def _commit(self, op: str, root: str, published: int | None = None) -> None:
        """One entry for the whole call, and its place as the version of all that it changed."""
        if not self._changed:
            return
        for m in self._changed:
            m.record.touched_epoch, m.record.touched_n = self.epoch, len(self.journal)
            m.record.updated_at = self.now
        self.journal.append(Entry(op, root, self.now, self._lines, published))
        self._changed, self._lines = [], {}

    def _settle(self, scope: Scope, slug: str, limit: int) -> tuple[int, dict[str, int]]:
        """What time has brought to a queue: lost leases first, then expiry, readiness, review timeouts."""
        counts: dict[str, int] = {}
        tallied: set[str] = set()

        def take(kind: str, at: dict[str, int]) -> list[Message]:
            due = sorted((t, id) for id, t in at.items() if t <= self.now)
            mine = [scope.messages[id] for _, id in due[: limit - len(tallied)] if (kind, id) not in tallied]
            tallied.update(m.id for m in mine)
            return mine

        def tally(m: Message) -> None:
            name = self._lines[m.id][-1][0]
            counts[name] = counts.get(name, 0) + 1

        for m in take("claimed", scope.sets(slug)["claimed"]):
            self._give_back(scope, m, "lose lease", "lease_lost", "", "lease_lost", range(1), False)
            tally(m)
        for m in take("expiry", scope.sets(slug)["expiry"]):
            self._end(m, "expire", State.expired)
            self._event(m, "expired")
            tally(m)
        for m in take("scheduled", scope.sets(slug)["scheduled"]):
            self._enter(scope, m, "promote", slug)
            self._event(m, "promoted")
            tally(m)
        for m in take("review", scope.sets(slug)["review"]):
            self._time_out(scope, m)
            tally(m)
        return len(tallied), counts

    def _time_out(self, scope: Scope, m: Message) -> None:
        """Nobody decided in time: as the spec in the header says, if there is one."""
        r, spec = m.record, json.loads(m.envelope.partition(b"\n")[0]).get("hitl_spec") or {}
        how, _, option = str(spec.get("on_timeout", "expire")).partition(":")
        if how == "auto":
            self._end(m, "time out", State.completed)
            at = datetime.fromtimestamp(self.now / 1000, UTC).isoformat(timespec="milliseconds")
            said = {"decision": option, "fields": {}, "reviewer": "system:timeout"}
            said["decided_at"] = at.replace("+00:00", "Z")
            m.outcome = (json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode(), "")
            r.flags |= Flag.outcome
            self._event(m, "decided", "system:timeout")
        elif how == "requeue":
            self._enter(scope, m, "time out", r.queue)
            self._event(m, "requeued", "", "review_timeout")
        elif how == "escalate" and r.verb != "escalate":
            r.verb, r.due_at = "escalate", self.now + r.due_at - r.created_at
            r.rank = r.rank if r.rank >= 4000 else 4000 + r.rank % 1000
            check_allowed("awaiting_review", "time out", m.view)
            self._event(m, "escalated", "", "review_timeout")
        else:
            self._end(m, "time out", State.expired)
            self._event(m, "expired", "", "review_timeout")

    def _give_back(
        self, scope: Scope, m: Message, verb: str, event: str, actor: str, detail: str,
        waits: range, last: bool, drawn: int = 0,
    ) -> None:  # fmt: skip
        """A lease ends without success; `waits`: what a retry may wait, `drawn`: when it is ready."""
        r, q = m.record, scope.queue(m.record.queue)
        limit = q.number("max_retries", 5) if r.max_retries < 0 else r.max_retries
        r.holder = ""
        if r.flags & Flag.cancel_requested:
            self._end(m, verb, State.cancelled)
            event = "cancelled"
        elif m.expired(self.now):
            self._end(m, verb, State.expired)
            event = "expired"
        elif r.queue != DEAD_QUEUE and (last or (verb != "release" and r.attempts >= limit)):
            self._bury(scope, m, verb, detail)
            event = "dead_lettered"
        else:
            ready_at = self.now + waits[0] if len(waits) == 1 else drawn or self.now
            assert ready_at - self.now in waits, f"waits {ready_at - self.now} ms, legal is {waits}"
            self._enter(scope, m, verb, r.queue, ready_at)
        self._event(m, event, actor, detail)
