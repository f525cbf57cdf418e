"""What a handler may ask and say about the message that it handles."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from scaiqueue.client.messages import Claimed
from scaiqueue.client.worker.holding import Held

Extend = Callable[[Held, float | None], Awaitable[None]]
Progress = Callable[[Held, float, str], None]


class Context:
    """Of an async handler."""

    __slots__ = ("_extend", "_held", "_progress")

    def __init__(self, held: Held, extend: Extend, progress: Progress) -> None:
        self._held = held
        self._extend = extend
        self._progress = progress

    @property
    def message(self) -> Claimed:
        return self._held.message

    @property
    def attempt(self) -> int:
        """1 at the first."""
        return self._held.message.attempts

    @property
    def cancelled(self) -> bool:
        """Somebody asked to cancel the message, its lease is lost, or the worker must end: stop when you can,
        by raising anything."""
        return self._held.cancel_requested or self._held.gone or self._held.stopped

    async def extend(self, seconds: float | None = None) -> None:
        """The lease ends so long from now. Needed by nobody who keeps the event loop free: the worker extends
        what it holds. Raises LeaseLost."""
        await self._extend(self._held, seconds)

    def progress(self, share: float, note: str = "") -> None:
        """How far the work is, 0 to 1, for the worker's hooks."""
        self._progress(self._held, share, note)


class ThreadContext(Context):
    """Of a handler that runs in a thread: nothing to await."""

    __slots__ = ("_loop",)

    def __init__(
        self, held: Held, extend: Extend, progress: Progress, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(held, extend, progress)
        self._loop = loop

    def extend(self, seconds: float | None = None) -> None:  # type: ignore[override]
        asyncio.run_coroutine_threadsafe(Context.extend(self, seconds), self._loop).result()

    def progress(self, share: float, note: str = "") -> None:
        self._loop.call_soon_threadsafe(self._progress, self._held, share, note)
