"""The data of the model: messages, queues, scopes and journal entries, and the arithmetic of order."""

from __future__ import annotations

from dataclasses import dataclass, field

from scaiqueue.records import Record, State
from tests.scripts.transitions import DEAD, NONE

DEAD_QUEUE = "_dead_letter"
LIVE = (State.scheduled, State.pending, State.claimed, State.awaiting_review)
Line = tuple[str, str, int, str, str]  # event, queue, attempts, actor, detail


@dataclass
class Message:
    id: str
    record: Record
    envelope: bytes
    outcome: tuple[bytes, str] | None = None
    score: int = 0

    @property
    def view(self) -> str:
        """The state as the transition table names it."""
        if self.record.state == State.pending and self.record.queue == DEAD_QUEUE:
            return DEAD
        return State(self.record.state).name

    def expired(self, now: int) -> bool:
        return 0 < self.record.expires_at <= now


@dataclass
class Queue:
    slug: str
    fields: dict[str, str] = field(default_factory=dict)

    def get(self, name: str, default: str = "") -> str:
        return self.fields.get(name, default)

    def number(self, name: str, default: int) -> int:
        return int(self.fields.get(name, default))

    def rank(self, record: Record, now: int) -> int:
        """The published rank, raised by age, at most 5000."""
        age = now - record.created_at
        if "aging" not in self.fields:
            return record.rank
        after, step, every = map(int, self.fields["aging"].split())
        steps = 0 if age < after else 1 + (age - after) // every
        return min(5000, record.rank + steps * step)

    def score(self, record: Record, now: int) -> int:
        match self.get("ordering", "fifo"):
            case "priority":
                return ((5000 - self.rank(record, now)) << 40) + record.seq % 2**40
            case "deadline" if record.deadline:
                return record.deadline * 2048 + record.seq % 2048
            case "deadline":
                return 2**53 - 2**42 + record.seq
            case _:
                return record.seq

    def backoff(self, attempts: int) -> range:
        """What a retry may wait, in ms."""
        strategy, base, factor, most, jitter = self.get("backoff", "exponential 1000 2 300000 full").split()
        growth = {"fixed": 1.0, "linear": float(attempts), "exponential": float(factor) ** (attempts - 1)}
        delay = int(min(int(base) * growth[strategy], int(most)))
        return range(0 if jitter == "full" else delay, delay + 1)


@dataclass
class Scope:
    root: str
    state: str = "active"
    version: int = 0
    seq: int = 0
    token: int = 0
    queues: dict[str, Queue] = field(default_factory=dict)
    messages: dict[str, Message] = field(default_factory=dict)
    rows: dict[str, Message] = field(default_factory=dict)  # the last of what was forgotten
    idem: dict[str, tuple[str, str]] = field(default_factory=dict)
    claims: dict[str, tuple[str, list[str]]] = field(default_factory=dict)  # token and ids

    def queue(self, slug: str) -> Queue:
        return self.queues.get(slug, Queue(slug))

    def exists(self, slug: str) -> bool:
        return bool(self.queue(slug).get("state"))

    def members(self, slug: str, *states: State) -> list[Message]:
        return [m for m in self.messages.values() if m.record.queue == slug and m.record.state in states]

    def waiting(self, slug: str) -> list[Message]:
        """Pending messages in the order in which they are handed out."""
        return sorted(self.members(slug, State.pending), key=lambda m: (m.score, m.id))

    def refusal(self, slug: str, enters: bool) -> list[object] | None:
        """Why nothing may be published into (or claimed from) a queue."""
        queue = self.queue(slug)
        state, access = queue.get("state"), queue.get("access")
        if self.state != "active":
            return [self.state.upper(), "scope"]
        if not state:
            return ["NOT_FOUND", "queue"]
        if access == "readonly" or (enters and access == "noput"):
            return ["READONLY", "queue"]
        if state in ("paused", "archived") or (enters and state == "draining"):
            return [state.upper(), "queue"]
        return None

    def sets(self, slug: str) -> dict[str, dict[str, int]]:
        """What the queue's sorted sets must hold."""
        found: dict[str, dict[str, int]] = {
            "pending": {m.id: m.score for m in self.members(slug, State.pending)},
            "expiry": {},
        }
        timed = {"scheduled": State.scheduled, "claimed": State.claimed, "review": State.awaiting_review}
        for name, state in timed.items():
            found[name] = {m.id: m.record.due_at for m in self.members(slug, state)}
        for m in self.members(slug, State.pending, State.scheduled, State.awaiting_review):
            if m.record.expires_at:
                found["expiry"][m.id] = m.record.expires_at
        return found

    def next_due(self, slug: str) -> int | None:
        sets = self.sets(slug)
        return min((at for name, s in sets.items() if name != "pending" for at in s.values()), default=None)


@dataclass
class Entry:
    """One journal entry; the lines of each message in their order."""

    op: str
    scope: str
    at: int
    events: dict[str, list[Line]]
    published: int | None = None
    detail: tuple[str, int] | None = None


__all__ = ["DEAD_QUEUE", "LIVE", "NONE", "Entry", "Line", "Message", "Queue", "Scope"]
