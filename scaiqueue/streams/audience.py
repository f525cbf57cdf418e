"""Who follows which stream. A wake-up of the stream reaches all of them; nobody asks Redis meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from scaiqueue.keys import StreamKeys


class Audience:
    """`closing`: the process ends, nobody waits any more. `wakes` counts: what was looked up before one of
    them may not hold after it."""

    def __init__(self) -> None:
        self._seats: dict[str, set[asyncio.Event]] = {}
        self.closing = False
        self.wakes = 0

    @contextmanager
    def seat(self, stream: StreamKeys) -> Iterator[asyncio.Event]:
        """Set whenever something happens to the stream: clear it before looking."""
        woken = asyncio.Event()
        seats = self._seats.setdefault(stream.root, set())
        seats.add(woken)
        try:
            yield woken
        finally:
            seats.discard(woken)
            if not seats and self._seats.get(stream.root) is seats:
                del self._seats[stream.root]

    def wake(self, root: str) -> None:
        if seats := self._seats.get(root):
            self.wakes += 1
            for woken in seats:
                woken.set()

    def wake_all(self) -> None:
        for root in self._seats:
            self.wake(root)

    def close(self) -> None:
        """Let everyone go now."""
        self.closing = True
        self.wake_all()
