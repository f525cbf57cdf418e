"""Keeps every lease of the worker alive by one request for all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from scaiqueue.client.errors import ClientError, LeaseLost, Refused
from scaiqueue.client.leasing import Extension, Leases
from scaiqueue.client.worker.holding import Held, Holdings

_MAX_ITEMS = 1000
_BEATS = 3
"""Beats in the time of a lease: two may fail."""


class Heartbeat:
    """`returned` hears of messages that somebody wants cancelled before they have a slot."""

    def __init__(
        self,
        leases: Leases,
        holdings: Holdings,
        visibility_timeout_s: float,
        returned: Callable[[Held], None],
        trouble: Callable[[BaseException], None],
    ) -> None:
        self._leases = leases
        self._holdings = holdings
        self._lease_s = visibility_timeout_s
        self._returned = returned
        self._trouble = trouble

    async def run(self) -> None:
        beat_s = self._lease_s / _BEATS
        while True:
            await asyncio.sleep(beat_s)
            now = time.monotonic()
            # What a handler has extended by itself for longer is left alone.
            due = [held for held in self._holdings.leases.values() if held.until - now < self._lease_s * 0.9]
            try:
                async with asyncio.timeout(beat_s):
                    for at in range(0, len(due), _MAX_ITEMS):
                        await self._extend(due[at : at + _MAX_ITEMS], self._lease_s)
            except (ClientError, TimeoutError) as error:
                self._trouble(error)
            now = time.monotonic()
            for held in [held for held in due if held.until <= now]:
                self._holdings.lose(held)

    async def extend(self, held: Held, seconds: float | None) -> None:
        """Of one message, for its handler. Raises LeaseLost."""
        await self._extend([held], seconds or self._lease_s)
        if held.gone:
            raise LeaseLost("SCAIQUEUE_CLAIM_LOST", "The lease is lost: drop the work.")

    async def _extend(self, due: Sequence[Held], seconds: float) -> None:
        items = [Extension(held.message.id, held.message.claim_token, seconds) for held in due]
        until = time.monotonic() + seconds
        for held, result in zip(due, (await self._leases.settle("extend", items)).results, strict=True):
            if not isinstance(result, Refused):
                held.until = until
                if result.cancel_requested and not held.cancel_requested:
                    held.cancel_requested = True
                    self._returned(held)
            elif not result.retryable:
                self._holdings.lose(held)
