"""Group commit: concurrent single calls share one script call.

There is no timer: the next call carries what arrived while the last one was under way. A caller that is
cancelled leaves the shared call alone, which runs in a task of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from functools import partial
from typing import Generic, TypeVar

from redis.exceptions import ResponseError

MAX_ITEMS = 1000
MAX_BYTES = 8 * 2**20
MAX_QUEUES = 64
NO_QUEUES: frozenset[str] = frozenset()

Item = TypeVar("Item")
Shared = TypeVar("Shared")
Answer = TypeVar("Answer")
# What the call says of all items, and of each.
Answers = tuple[Shared, Sequence[Answer]]
Run = Callable[[list[Item]], Awaitable[Answers[Shared, Answer]]]


class _Submission(Generic[Item, Shared, Answer]):
    __slots__ = ("answer", "count", "items", "queues", "weight")

    def __init__(
        self,
        items: Sequence[Item],
        count: int,
        weight: int,
        queues: frozenset[str],
        answer: asyncio.Future[Answers[Shared, Answer]],
    ) -> None:
        self.items, self.count, self.weight, self.queues = items, count, weight, queues
        self.answer = answer


class Batcher(Generic[Item, Shared, Answer]):
    """Calls `run` with the items of many submissions, and gives each its own answers.

    `run` answers one thing per item, in order, and what is common to all. A malformed item fails its own
    submission alone: the others of the same call are run again without it.
    """

    def __init__(self, run: Run[Item, Shared, Answer], idle: Callable[[], None]) -> None:
        self._run = run
        self._idle = idle
        self._waiting: deque[_Submission[Item, Shared, Answer]] = deque()
        self._task: asyncio.Task[None] | None = None

    def submit(
        self,
        items: Sequence[Item],
        *,
        count: int | None = None,
        weight: int = 0,
        queues: frozenset[str] = NO_QUEUES,
    ) -> asyncio.Future[Answers[Shared, Answer]]:
        """`count` and `weight` (bytes) are what the items take of a call's bounds."""
        answer: asyncio.Future[Answers[Shared, Answer]] = asyncio.get_running_loop().create_future()
        self._waiting.append(
            _Submission(items, len(items) if count is None else count, weight, queues, answer)
        )
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return answer

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._call(self._next())
        finally:
            self._task = None
            self._idle()

    def _next(self) -> list[_Submission[Item, Shared, Answer]]:
        taken: list[_Submission[Item, Shared, Answer]] = []
        count = weight = 0
        queues = NO_QUEUES
        while self._waiting:
            head = self._waiting[0]
            if head.answer.done():
                self._waiting.popleft()
                continue
            count, weight = count + head.count, weight + head.weight
            if head.queues is not queues:
                queues = queues | head.queues
            if taken and (count > MAX_ITEMS or weight > MAX_BYTES or len(queues) > MAX_QUEUES):
                break
            taken.append(self._waiting.popleft())
        return taken

    async def _call(self, batch: list[_Submission[Item, Shared, Answer]]) -> None:
        if not batch:
            return
        try:
            shared, answers = await self._run([item for submission in batch for item in submission.items])
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
                upto = at + len(submission.items)
                if not submission.answer.done():
                    submission.answer.set_result((shared, answers[at:upto]))
                at = upto


def _fail(batch: Sequence[_Submission[Item, Shared, Answer]], error: Exception) -> None:
    for submission in batch:
        if not submission.answer.done():
            submission.answer.set_exception(error)


class Batchers(Generic[Item, Shared, Answer]):
    """A batcher per key (a scope, a queue), for as long as it is busy."""

    def __init__(self) -> None:
        self._busy: dict[Hashable, Batcher[Item, Shared, Answer]] = {}

    def of(self, key: Hashable, run: Run[Item, Shared, Answer]) -> Batcher[Item, Shared, Answer]:
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
