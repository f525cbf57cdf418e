"""What a queue's settings make of a message: its place, how long it waits, what it may still try."""

from __future__ import annotations

from random import randint
from typing import NamedTuple

from scaiqueue.queueing.configuration import queue_fields
from scaiqueue.records import Record
from scaiqueue.rows.queues import QueueRow

RANK_SPAN = 2**40
TOP_RANK = 5000
NO_DEADLINE = 2**53 - 2**42


class Rules(NamedTuple):
    """`state` is "" where there is no such queue. The defaults are those of the scripts."""

    slug: str
    state: str = ""
    ordering: str = "fifo"
    max_depth: int = 0
    overflow: str = "reject"
    max_retries: int = 5
    visibility_ms: int = 30_000
    backoff: str = "exponential 1000 2 300000 full"
    require_token: bool = False
    aging: str = ""
    access: str = ""

    @classmethod
    def of(cls, row: QueueRow) -> Rules:
        fields = queue_fields(row)
        return cls(
            row.slug,
            fields["state"],
            fields["ordering"],
            int(fields["max_depth"]),
            fields["overflow"],
            int(fields["max_retries"]),
            int(fields["visibility_ms"]),
            fields["backoff"],
            fields["require_token"] == "1",
            fields["aging"],
            fields["access"],
        )

    def rank(self, record: Record, now: int) -> int:
        """Raised by age where the queue ages priorities."""
        if not self.aging:
            return record.rank
        after, step, every = map(int, self.aging.split())
        over = now - record.created_at - after
        return record.rank if over < 0 else min(TOP_RANK, record.rank + step * (1 + over // every))

    def score(self, record: Record, now: int) -> int:
        """The place in the queue's order, lowest first."""
        if self.ordering == "priority":
            return (TOP_RANK - self.rank(record, now)) * RANK_SPAN + record.seq % RANK_SPAN
        if self.ordering == "deadline":
            if record.deadline:
                return record.deadline * 2048 + record.seq % 2048
            return NO_DEADLINE + record.seq
        return record.seq

    def retry_delay(self, attempts: int) -> int:
        """How long a failed message waits, in ms."""
        strategy, base, factor, most, jitter = self.backoff.split()
        delay = float(base)
        if strategy == "linear":
            delay *= attempts
        elif strategy == "exponential":
            delay *= float(factor) ** (attempts - 1)
        longest = int(min(delay, float(most)))
        return randint(0, longest) if jitter == "full" else longest

    def exhausted(self, record: Record) -> bool:
        """It was claimed so often that it may not be tried again."""
        limit = self.max_retries if record.max_retries < 0 else record.max_retries
        return record.attempts >= limit

    def refuses(self, scope_state: str, *, entering: bool) -> list[str] | None:
        """Why nothing may be published into the queue (`entering`), or claimed from it; None: it may."""
        if not scope_state:
            return ["NOT_FOUND", "scope"]
        if scope_state != "active":
            return [scope_state.upper(), "scope"]
        if not self.state:
            return ["NOT_FOUND", "queue"]
        if self.access in ("readonly", "broadcast") or (entering and self.access):
            return ["READONLY", "queue"]
        if self.state in ("paused", "archived") or (entering and self.state != "active"):
            return [self.state.upper(), "queue"]
        return None
