"""One scope in memory. Its transitions are those that hold while Redis is away (`scaiqueue.fallback`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from msgspec import Raw
from uuid_utils import uuid7

from scaiqueue import moments
from scaiqueue.api.claims import Claim
from scaiqueue.api.drafts import Publish
from scaiqueue.client.memory.stored import TENANT, Stored
from scaiqueue.errors import Code, QueueError
from scaiqueue.fallback.rules import Rules
from scaiqueue.fallback.transitions import enter, finish, give_back
from scaiqueue.keys import DEAD_LETTER
from scaiqueue.queueing import refusals
from scaiqueue.queueing.header import Header
from scaiqueue.records import Record, State

EPOCH = 1
_KEY_S = 86_400
_HOLDER = "memory"


class Happened(NamedTuple):
    """One event of the scope, with where its message was then."""

    number: int
    event: str
    at: int
    message: Stored
    queue: str
    attempts: int

    def told(self, scope: str) -> dict[str, Any]:
        message = self.message
        payload: dict[str, Any] = {
            "scope_id": scope,
            "message_id": message.id,
            "queue": self.queue,
            "message_type": message.header.type,
            "correlation_id": message.header.correlation_id,
            "attempts": self.attempts,
            "actor": None,
            "detail": message.outcome.reason or None,
        }
        if self.event == "completed":
            payload["response"] = Raw(message.outcome.response or b"null")
        return {
            "event_type": f"scaiqueue.message.{self.event}",
            "event_id": str(self.number),
            "source": "scaiqueue",
            "tenant_id": TENANT,
            "payload": payload,
            "timestamp": moments.text(self.at),
        }


class Owner(NamedTuple):
    """Who has an idempotency key, and until when."""

    message: Stored
    digest: bytes
    until: int


class MemoryScope:
    """`now` is the clock, in ms."""

    def __init__(self, slug: str, now: Callable[[], int]) -> None:
        self.slug = slug
        self.state = "active"
        self.now = now
        self.queues: dict[str, Rules] = {DEAD_LETTER: Rules(DEAD_LETTER, "active", access="noput")}
        self.messages: dict[str, Stored] = {}
        self.events: list[Happened] = []
        self.changed = asyncio.Event()
        self._seq = self._tokens = 0
        self._owners: dict[tuple[str, str], Owner] = {}
        self._claims: dict[str, tuple[str, list[Stored]]] = {}

    def rules(self, queue: str, *, entering: bool) -> Rules:
        """Raises QueueError for a queue that is not there or takes no such call."""
        rules = self.queues.get(queue, Rules(queue))
        if refused := rules.refuses(self.state, entering=entering):
            raise refusals.of_reply([*refused])
        return rules

    def tell(self, event: str, message: Stored) -> None:
        """Whoever waits looks again."""
        now, record = self.now(), message.record
        record.updated_at = now
        number = len(self.events) + 1
        self.events.append(Happened(number, event, now, message, record.queue, record.attempts))
        self.wake()

    def wake(self) -> None:
        woken, self.changed = self.changed, asyncio.Event()
        woken.set()

    def publish(self, queue: str, asked: Publish, body: bytes, header_key: str | None) -> tuple[Stored, bool]:
        """The message, and whether an earlier publish with the same key had made it."""
        rules = self.rules(queue, entering=True)
        self.sweep()
        now, key = self.now(), asked.idempotency_key or header_key
        digest = sha256(b"\0".join((asked.type.encode(), asked.content_type.encode(), body))).digest()
        if key is not None and (owner := self._owners.get((queue, key))) and owner.until > now:
            if owner.digest != digest:
                raise refusals.of_reply(["CONFLICT", owner.message.id])
            return owner.message, True
        waiting = [one for one in self._in(queue) if one.record.state in (State.pending, State.scheduled)]
        if rules.max_depth and len(waiting) >= rules.max_depth:
            raise refusals.of_reply(["FULL"])
        message = self._made(rules, asked, body, key, now)
        self.messages[message.id] = message
        if key is not None:
            window = asked.idempotency_window_s or _KEY_S
            self._owners[queue, key] = Owner(message, digest, now + window * 1000)
        self.tell("published", message)
        return message, False

    def _made(self, rules: Rules, asked: Publish, body: bytes, key: str | None, now: int) -> Stored:
        self._seq += 1
        delay = round((asked.delay_s or 0) * 1000)
        if asked.delay_until is not None:
            delay = max(0, moments.milliseconds(asked.delay_until) - now)
        deadline = 0 if asked.deadline is None else moments.milliseconds(asked.deadline)
        ends = [deadline] if deadline else []
        if asked.ttl_seconds is not None:
            ends.append(now + round(asked.ttl_seconds * 1000))
        record = Record(
            queue=rules.slug,
            state=State.pending,
            attempts=0,
            seq=self._seq,
            rank=asked.priority.rank,
            deadline=deadline,
            expires_at=min(ends, default=0),
            size=len(body),
            token="",
            holder="",
            verb="",
            touched_epoch=EPOCH,
            touched_n=self._seq,
            max_retries=-1 if asked.max_retries is None else asked.max_retries,
            created_at=now,
            flags=0,
            due_at=0,
            updated_at=now,
        )
        enter(record, rules.slug, now + delay, now)
        header = Header(
            type=asked.type,
            labels=asked.labels,
            source=asked.source,
            correlation_id=asked.correlation_id,
            causation_id=asked.causation_id,
            parent_id=asked.parent_id,
            content_type=asked.content_type,
            ttl_seconds=asked.ttl_seconds,
            deadline=moments.optional_text(deadline),
            delay_until=moments.text(now + delay) if delay else None,
            idempotency_key=key,
            priority=asked.priority,
        )
        return Stored(str(uuid7()), record, header, body)

    def claim(self, queues: Sequence[str], asked: Claim, strategy: str) -> list[Stored]:
        """Leases, or those that the claim's id was given already."""
        self.sweep()
        key = asked.claim_id or ""
        token, earlier = self._claims.get(key, ("", []))
        given = [one for one in earlier if one.record.token == token and one.record.state == State.claimed]
        if given:
            return given
        chosen: list[Rules] = []
        refused: QueueError | None = None
        for queue in queues:
            try:
                chosen.append(self.rules(queue, entering=False))
            except QueueError as error:
                if error.code is Code.SCAIQUEUE_QUEUE_NOT_FOUND:
                    raise
                refused = error
        if not chosen and refused is not None:
            raise refused
        taken = list(self._next(chosen, strategy, asked.batch_size))
        if not taken:
            return []
        self._tokens += 1
        for message in taken:
            record = message.record
            lease_s = asked.visibility_timeout_s
            rules = self.queues[record.queue]
            record.state, record.attempts = State.claimed, record.attempts + 1
            record.due_at = self.now() + (rules.visibility_ms if lease_s is None else round(lease_s * 1000))
            record.token, record.verb = f"{EPOCH}.{self._tokens}", ""
            record.holder = holder(asked.consumer_id)
            self.tell("claimed", message)
        if key:
            self._claims[key] = taken[0].record.token, taken
        return taken

    def _next(self, queues: Sequence[Rules], strategy: str, want: int) -> Iterator[Stored]:
        waiting = {
            rules.slug: sorted(
                (one for one in self._in(rules.slug) if one.record.state == State.pending),
                key=lambda one, rules=rules: rules.score(one.record, self.now()),  # type: ignore[misc]
            )
            for rules in queues
        }
        turn = 0
        while want and any(waiting.values()):
            full = [rules.slug for rules in queues if waiting[rules.slug]]
            if strategy == "oldest":
                slug = min(full, key=lambda slug: waiting[slug][0].record.seq)
            else:
                slug = full[turn % len(full)] if strategy == "fair" else full[0]
            turn, want = turn + 1, want - 1
            yield waiting[slug].pop(0)

    def sweep(self) -> None:
        """What time has brought: expiry, readiness, lost leases."""
        now = self.now()
        for message in list(self.messages.values()):
            record = message.record
            waits = record.state in (State.pending, State.scheduled)
            if waits and 0 < record.expires_at <= now:
                finish(record, State.expired)
                self.tell("expired", message)
            elif record.state == State.scheduled and record.due_at <= now:
                enter(record, record.queue, now, now)
            elif record.state == State.claimed and record.due_at <= now:
                last = self.queues[record.queue].exhausted(record)
                self.tell(give_back(record, "lease_lost", "lease_lost", 0, last, now), message)

    def next_due(self) -> int | None:
        """When time brings the next change."""
        moments_due = [
            moment
            for one in self.messages.values()
            if one.record.state in (State.pending, State.scheduled, State.claimed)
            for moment in (one.record.due_at, one.record.expires_at)
            if moment
        ]
        return min(moments_due, default=None)

    def depths(self, queue: str) -> dict[str, int]:
        self.sweep()
        states = [one.record.state for one in self._in(queue)]
        return {
            f"depth_{state.name}": states.count(state)
            for state in (State.pending, State.claimed, State.scheduled)
        }

    def _in(self, queue: str) -> list[Stored]:
        return [one for one in self.messages.values() if one.record.queue == queue]


def holder(consumer_id: str | None) -> str:
    return f"{_HOLDER}/{consumer_id}" if consumer_id else _HOLDER
