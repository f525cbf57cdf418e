"""Group commit: concurrent single calls share one script call.

There is no timer: the next call carries what arrived while the last one was under way. A caller that is
cancelled leaves the shared call alone, which runs in a task of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from redis.exceptions import ResponseError

MAX_ITEMS = 1000
MAX_BYTES = 8 * 2**20
MAX_QUEUES = 64

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Run = Callable[[list[Item]], Awaitable[Sequence[Answer]]]


@dataclass(slots=True)
class _Submission(Generic[Item, Answer]):
    items: list[Item]
    count: int
    weight: int
    queues: frozenset[str]
    answer: asyncio.Future[list[Answer]] = field(default_factory=asyncio.Future)


class Batcher(Generic[Item, Answer]):
    """Calls `run` with the items of many submissions, and gives each its own answers.

    `run` answers one thing per item, in order. A malformed item fails its own submission alone: the
    others of the same call are run again without it.
    """

    def __init__(self, run: Run[Item, Answer], idle: Callable[[], None]) -> None:
        self._run = run
        self._idle = idle
        self._waiting: deque[_Submission[Item, Answer]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def submit(
        self,
        items: Sequence[Item],
        *,
        count: int | None = None,
        weight: int = 0,
        queues: frozenset[str] = frozenset(),
    ) -> list[Answer]:
        """`count` and `weight` (bytes) are what the items take of a call's bounds."""
        submission: _Submission[Item, Answer] = _Submission(
            list(items), len(items) if count is None else count, weight, queues
        )
        self._waiting.append(submission)
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return await submission.answer

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._call(self._next())
        finally:
            self._task = None
            self._idle()

    def _next(self) -> list[_Submission[Item, Answer]]:
        taken: list[_Submission[Item, Answer]] = []
        count = weight = 0
        queues: frozenset[str] = frozenset()
        while self._waiting:
            head = self._waiting[0]
            if head.answer.done():
                self._waiting.popleft()
                continue
            count, weight, queues = count + head.count, weight + head.weight, queues | head.queues
            if taken and (count > MAX_ITEMS or weight > MAX_BYTES or len(queues) > MAX_QUEUES):
                break
            taken.append(self._waiting.popleft())
        return taken

    async def _call(self, batch: list[_Submission[Item, Answer]]) -> None:
        if not batch:
            return
        try:
            answers = await self._run([item for submission in batch for item in submission.items])
        except ResponseError as error:
            if len(batch) > 1 and "BADARG" in str(error):
                for submission in batch:
                    await self._call([submission])
            else:
                _fail(batch, error)
        except Exception as error:
            _fail(batch, error)
        except asyncio.CancelledError:
            for submission in batch:
                submission.answer.cancel()
            raise
        else:
            at = 0
            for submission in batch:
                if not submission.answer.done():
                    submission.answer.set_result(list(answers[at : at + len(submission.items)]))
                at += len(submission.items)


def _fail(batch: Sequence[_Submission[Item, Answer]], error: Exception) -> None:
    for submission in batch:
        if not submission.answer.done():
            submission.answer.set_exception(error)


class Batchers(Generic[Item, Answer]):
    """A batcher per key (a scope, a queue), for as long as it is busy."""

    def __init__(self) -> None:
        self._busy: dict[Hashable, Batcher[Item, Answer]] = {}

    def of(self, key: Hashable, run: Run[Item, Answer]) -> Batcher[Item, Answer]:
        """The busy batcher of `key`, or a new one that will call `run`."""
        batcher = self._busy.get(key)
        if batcher is None:
            batcher = self._busy[key] = Batcher(run, partial(self._forget, key))
        return batcher

    def _forget(self, key: Hashable) -> None:
        self._busy.pop(key, None)

    async def drain(self) -> None:
        """Wait until every call under way has ended."""
        while tasks := [batcher._task for batcher in self._busy.values() if batcher._task is not None]:
            await asyncio.wait(tasks)
