"""The leases that a worker holds."""

from __future__ import annotations

import asyncio
from collections import deque

from scaiqueue.client.jobs import Handling
from scaiqueue.client.messages import Claimed


class Held:
    """A message of ours until it is settled or lost. `until` is the lease's end by our own clock."""

    __slots__ = ("begun", "cancel_requested", "gone", "handling", "message", "stopped", "task", "until")

    def __init__(self, message: Claimed, until: float) -> None:
        self.message = message
        self.until = until
        self.handling: Handling | None = None
        self.task: asyncio.Task[None] | None = None
        self.begun = False
        self.gone = False
        self.stopped = False
        self.cancel_requested = False

    def interrupt(self) -> None:
        """Ends an async handler; one in a thread sees `cancelled` when it looks."""
        # A task that has not begun looks for itself; cancelled now, it would never run, nor free its slot.
        if self.task is not None and self.begun and self.handling is not None and self.handling.asynchronous:
            self.task.cancel()


class Holdings:
    """`waiting` have no slot yet, `running` have one; what is in neither waits for its settlement."""

    def __init__(self, concurrency: int, prefetch: int) -> None:
        self.concurrency = concurrency
        self._capacity = concurrency + prefetch
        self.leases: dict[str, Held] = {}
        self.waiting: deque[Held] = deque()
        self.running: set[Held] = set()

    @property
    def room(self) -> int:
        """How many more messages have a place to wait or a slot."""
        return self._capacity - len(self.waiting) - len(self.running)

    def add(self, message: Claimed, until: float) -> None:
        if (earlier := self.leases.get(message.id)) is not None:
            self.lose(earlier)
        held = self.leases[message.id] = Held(message, until)
        self.waiting.append(held)

    def drop(self, held: Held) -> None:
        """It is settled, or was never ours any more."""
        held.gone = True
        if self.leases.get(held.message.id) is held:
            del self.leases[held.message.id]

    def lose(self, held: Held) -> None:
        """Somebody else has it, or will: its handler is ended, its outcome forgotten."""
        if not held.gone:
            self.drop(held)
            held.interrupt()
