"""The beat that wakes who follows a shard's events. Without followers it is one look into an empty dict."""

from __future__ import annotations

import asyncio


class Pulse:
    def __init__(self) -> None:
        self._next: dict[int, asyncio.Event] = {}
        self.closing = False

    def next(self, shard: int) -> asyncio.Event:
        """Set at the shard's next beat. Ask before looking, or a beat in between is missed."""
        event = self._next.get(shard)
        if event is None:
            event = self._next[shard] = asyncio.Event()
            if self.closing:
                event.set()
        return event

    def beat(self, shard: int) -> None:
        """The shard's rows have something new."""
        event = self._next.pop(shard, None)
        if event is not None:
            event.set()

    def beat_all(self) -> None:
        for shard in list(self._next):
            self.beat(shard)

    def close(self) -> None:
        """End all following now."""
        self.closing = True
        self.beat_all()
