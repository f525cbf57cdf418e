"""Calls made at the same time share a request."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Send = Callable[[list[Item]], Awaitable[Sequence[Result | Exception]]]

MAX_ITEMS = 500
IN_FLIGHT = 2


class Batcher(Generic[Item, Result]):
    """No timer: a request carries what was asked for while the ones before it were under way.

    A caller that is cancelled leaves the shared request alone.
    """

    def __init__(self, send: Send[Item, Result]) -> None:
        self._send = send
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        # A task that has seen that nothing waits takes no more, and is in the set for a moment longer.
        self._working = 0

    async def submit(self, item: Item) -> Result:
        """The item's own result. Raises its own error, or that of the request."""
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._working < IN_FLIGHT:
            self._working += 1
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await answer

    async def drain(self) -> None:
        """Until everything that was asked for is answered."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _work(self) -> None:
        try:
            while self._waiting:
                taken = [self._waiting.popleft() for _ in range(min(MAX_ITEMS, len(self._waiting)))]
                await self._request(taken)
        finally:
            self._working -= 1

    async def _request(self, taken: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._send([item for item, _ in taken])
        except Exception as error:
            results = [error] * len(taken)
        for (_, answer), result in zip(taken, results, strict=True):
            if answer.done():
                continue
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)
