"""An independent model of the queue: what each script must answer and leave behind.

Every method takes a call's arguments and returns the replies, item by item. Where a script may choose
(a jitter draw, the turns of a fair claim, the point where a bound ends a claim) the method is given the
script's own answer, checks that it is a legal one, and follows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from scaiqueue.records import Flag, Record, State
from tests.scripts.model_core import Replies
from tests.scripts.model_holders import Holders
from tests.scripts.model_parts import DEAD_QUEUE, LIVE, NONE, Entry, Message, Queue, Scope
from tests.scripts.transitions import DEAD, check_allowed


class Model(Holders):
    """All verbs."""

    def publish(self, scope: Scope, items: Sequence[dict[str, Any]]) -> Replies:
        replies: Replies = []
        room = 10**15 if self.backlog_limit is None else self.backlog_limit - self.published + self.persisted
        before, accepted = list(scope.messages.values()), 0
        for item in items:
            refusal = scope.refusal(item["queue"], enters=True) or self._repeated(scope, item)
            if not refusal and accepted >= room:
                refusal = ["BACKLOG"]
            if not refusal:
                m = self._admit(scope, item, before)
                if m is None:
                    refusal = ["FULL"]
                else:
                    accepted += 1
                    if item["idem"]:
                        scope.idem[item["idem"]] = (m.id, item["digest"])
                    refusal = ["OK", State(m.record.state).name]
            replies.append(refusal)
        self.published += accepted
        self._commit("publish", scope.root, self.published)
        return replies

    def _repeated(self, scope: Scope, item: dict[str, Any]) -> list[Any] | None:
        if len(item["body"]) > self.max_body:
            return ["TOO_LARGE", self.max_body]
        if item["idem"] in scope.idem:
            owner, digest = scope.idem[item["idem"]]
            return ["DUPLICATE" if digest == item["digest"] else "CONFLICT", owner]
        return ["DUPLICATE", item["id"]] if item["id"] in scope.messages else None

    def _admit(self, scope: Scope, item: dict[str, Any], before: list[Message]) -> Message | None:
        slug, overflow = item["queue"], None
        queue = scope.queue(slug)
        depth = len(scope.members(slug, State.pending, State.scheduled))
        if 0 < queue.number("max_depth", 0) <= depth:
            overflow = queue.get("overflow", "reject")
            oldest = self._oldest(slug, before)
            if overflow == "reject" or (overflow == "drop_oldest" and oldest is None):
                return None
            if overflow == "drop_oldest" and oldest:
                self._end(oldest, "overflow", State.cancelled)
                self._event(oldest, "cancelled", "", "overflow")
        scope.seq += 1
        ends = [self.now + item["ttl_ms"]] if item["ttl_ms"] else []
        ends += [item["deadline"]] if item["deadline"] else []
        envelope = item["header"] + b"\n" + item["body"]
        rank = 2500 if item["rank"] is None else item["rank"]
        retries = -1 if item["max_retries"] is None else item["max_retries"]
        # fmt: off
        r = Record(slug, 0, 0, scope.seq, rank, item["deadline"] or 0, min(ends, default=0), len(envelope),
                   "", "", "", 0, 0, retries, self.now, 0, 0, self.now)
        # fmt: on
        m = Message(item["id"], r, envelope)
        if overflow == "dead_letter":
            self._bury(scope, m, "publish", "overflow")
            self._event(m, "dead_lettered", item["actor"], "overflow")
        else:
            if item["review_ms"]:
                r.state, r.due_at = State.awaiting_review, self.now + item["review_ms"]
                check_allowed(NONE, "publish", m.view)
            else:
                self._enter(scope, m, "publish", slug, self.now + (item["delay_ms"] or 0))
            self._event(m, "published", item["actor"])
        scope.messages[m.id] = m
        return m

    def _oldest(self, slug: str, before: list[Message]) -> Message | None:
        """What was published first of what waited in the queue when the call began."""
        waiting = [m for m in before if m.record.queue == slug and m.record.state in LIVE[:2]]
        return min(waiting, key=lambda m: m.record.seq, default=None)

    def cancel(self, scope: Scope, items: Sequence[dict[str, Any]]) -> Replies:
        replies: Replies = []
        for item in items:
            m = scope.messages.get(item["id"])
            if m is None:
                replies.append(["NOT_FOUND"])
            elif m.record.state not in LIVE:
                replies.append(["INVALID_STATE", State(m.record.state).name])
            elif m.record.state == State.claimed:
                check_allowed("claimed", "cancel", m.view)
                if not m.record.flags & Flag.cancel_requested:
                    m.record.flags |= Flag.cancel_requested
                    self._event(m, "cancel_requested", item["actor"])
                replies.append(["OK", "cancel_requested"])
            else:
                self._end(m, "cancel", State.cancelled)
                self._event(m, "cancelled", item["actor"])
                replies.append(["OK", "cancelled"])
        self._commit("cancel", scope.root)
        return replies

    def erase(self, scope: Scope, ids: Sequence[str], envelope: bytes, stay: bool, actor: str) -> Replies:
        replies: Replies = []
        for id in ids:
            m = scope.messages.get(id)
            if m is None:
                replies.append(["NOT_FOUND"])
                continue
            r = m.record
            if r.state in LIVE and not stay:
                self._end(m, "erase", State.cancelled)
                r.token = r.verb = r.holder = ""
                self._event(m, "cancelled", actor, "erased")
            else:
                self._event(m, "redacted" if stay else "erased", actor)
            r.size, r.flags = len(envelope), r.flags & Flag.cancel_requested
            if r.origin:
                queue, _, *rest = r.origin
                r.origin = (queue, "erased", *rest)
            m.envelope, m.outcome = envelope, None
            replies.append(["OK", State(r.state).name])
        self._commit("erase", scope.root)
        return replies

    def redrive(self, scope: Scope, items: Sequence[dict[str, Any]]) -> Replies:
        replies: Replies = []
        for item in items:
            m = scope.messages.get(item["id"])
            if m is None:
                replies.append(["NOT_FOUND", "message"])
                continue
            if m.view != DEAD:
                replies.append(["INVALID_STATE", State(m.record.state).name])
                continue
            target = item["target"] or (str(m.record.origin[0]) if m.record.origin else DEAD_QUEUE)
            reply = scope.refusal(target, enters=True)
            if not reply:
                m.record.attempts, m.record.origin, m.record.verb = 0, (), ""
                self._enter(scope, m, "redrive", target)
                self._event(m, "redriven", item["actor"])
                reply = ["OK", target]
            replies.append(reply)
        self._commit("redrive", scope.root)
        return replies

    def decide(self, scope: Scope, items: Sequence[dict[str, Any]]) -> Replies:
        replies: Replies = []
        for item in items:
            m = scope.messages.get(item["id"])
            if m is None:
                replies.append(["NOT_FOUND"])
            elif m.record.state != State.awaiting_review:
                replies.append(["INVALID_STATE", State(m.record.state).name])
            elif str(m.record.version) != item["version"]:
                replies.append(["CONFLICT", str(m.record.version)])
            else:
                self._end(m, "decide", State.completed)
                m.outcome, m.record.flags = (item["response"], ""), m.record.flags | Flag.outcome
                self._event(m, "decided", item["actor"])
                replies.append(["OK", "completed"])
        self._commit("decide", scope.root)
        return replies

    def purge(self, scope: Scope, slug: str, limit: int, actor: str) -> Replies:
        """Needs a limit that all fit in, or an only kind of waiting messages."""
        waiting = scope.waiting(slug)
        for state in (State.scheduled, State.awaiting_review):
            waiting += sorted(scope.members(slug, state), key=lambda m: (m.record.due_at, m.id))
        for m in waiting[:limit]:
            self._end(m, "purge", State.cancelled)
            self._event(m, "cancelled", actor, "purged")
        self._commit("purge", scope.root)
        return [["MORE" if len(waiting) > limit else "OK", len(waiting[:limit])]]

    def sweep(self, limit: int, due: list[tuple[str, int]]) -> Replies:
        """`due`: the shard's index before the call, whose instants may be earlier than what is due."""
        if not due or due[0][1] > self.now:
            return [["EMPTY", due[0][1] if due else -1]]
        root, _, slug = due[0][0].partition(":q:")
        settled, counts = self._settle(self.scopes[root], slug, limit)
        self._commit("sweep", root)
        names = ("lease_lost", "promoted", "expired", "dead_lettered")
        word = "MORE" if settled >= limit else "OK"
        return [[word, due[0][0], settled, *(counts.get(name, 0) for name in names)]]

    def age(self, scope: Scope, slug: str) -> Replies:
        """With a limit that all fit in."""
        queue, raised = scope.queue(slug), 0
        if queue.get("ordering") == "priority":
            for m in scope.members(slug, State.pending):
                score = queue.score(m.record, self.now)
                if score < m.score:
                    m.score, raised = score, raised + 1
        if raised:
            self.journal.append(Entry("age", scope.root, self.now, {}, detail=(slug, raised)))
        return [["OK", raised]]

    def forget(self, scope: Scope, items: Sequence[dict[str, Any]], persisted: int | None) -> Replies:
        replies: Replies = []
        for item in items:
            m = scope.messages.get(item["id"])
            if m and m.record.state not in LIVE and str(m.record.version) == item["version"]:
                check_allowed(m.view, "forget", NONE)
                scope.rows[m.id] = scope.messages.pop(m.id)
                replies.append(["OK"])
            else:
                replies.append(["KEPT"])
        self.persisted = max(self.persisted, persisted or 0)
        return replies

    def configure(self, scope: Scope, slug: str, version: int, fields: dict[str, str]) -> Replies:
        queue = scope.queues.setdefault(slug, Queue(slug))
        if queue.number("version", 0) > version:
            return [["CONFLICT", queue.number("version", 0)]]
        if fields.get("state") == "removed":
            if live := scope.members(slug, *LIVE):
                return [["INVALID_STATE", len(live)]]
            del scope.queues[slug]
            return [["OK"]]
        queue.fields |= {"version": str(version)} | fields
        queue.fields = {name: value for name, value in queue.fields.items() if value}
        return [["OK"]]

    def begin_epoch(self) -> None:
        """Redis lost something: what follows is of a new epoch."""
        self.epoch += 1
        self.journal = []

    def restore(self, scope: Scope, index: dict[str, Message], ids: Sequence[str]) -> Replies:
        """Bring `ids` back from the rows; `index`: what the index still holds of the scope."""
        replies: Replies = []
        for id in ids:
            row = scope.messages.get(id) or scope.rows[id]
            before = index.get(id)
            if before and before.record.version >= row.record.version:
                replies.append(["KEPT"])
                continue
            m = index[id] = deepcopy(row)
            if m.record.state == State.claimed:
                self._void_lease(scope, m)
            elif m.record.state == State.pending:
                m.score = scope.queue(m.record.queue).score(m.record, self.now)
            elif m.record.state not in LIVE:
                scope.rows[id] = index.pop(id)
            replies.append(["OK"])
        self._commit("restore", scope.root)
        return replies

    def _void_lease(self, scope: Scope, m: Message) -> None:
        """The attempt stays counted, the old holder's token is void, a cancel request is granted."""
        m.record.holder = ""
        if m.record.flags & Flag.cancel_requested:
            self._end(m, "restore", State.cancelled)
            self._event(m, "cancelled", "", "lease_lost")
        else:
            self._enter(scope, m, "restore", m.record.queue)
            self._event(m, "restored")
