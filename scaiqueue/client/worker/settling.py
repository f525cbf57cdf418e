"""Tells the queue how messages ended, many to a request, and takes the next ones along."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from scaiqueue.client.errors import ClientError, Refused
from scaiqueue.client.leasing import Completion, Failure, Item, Leases, Verb
from scaiqueue.client.worker.holding import Held, Holdings
from scaiqueue.client.worker.intake import Intake
from scaiqueue.client.worker.outcomes import hopeless

IN_FLIGHT = 2
MAX_ITEMS = 1000
MAX_BYTES = 4 * 2**20
_PAUSE_S = 1.0
_OF_AN_ITEM = ("SCAIQUEUE_MESSAGE_TOO_LARGE", "VALIDATION_ERROR")
_VERBS: tuple[Verb, ...] = ("complete", "fail", "release")


class Settler:
    """No timer: a request carries what ended while the ones before it were under way. What can't be told is
    told again for as long as the lease is ours."""

    def __init__(self, leases: Leases, holdings: Holdings, trouble: Callable[[BaseException], None]) -> None:
        self.intake: Intake
        self._leases = leases
        self._holdings = holdings
        self._trouble = trouble
        self._waiting: dict[Verb, deque[tuple[Held, Item]]] = {verb: deque() for verb in _VERBS}
        self._tasks: set[asyncio.Task[None]] = set()
        # A task that has seen that nothing waits takes no more, and is in the set for a moment longer.
        self._working = 0

    @property
    def busy(self) -> bool:
        return self._working > 0

    def add(self, verb: Verb, held: Held, item: Item) -> None:
        self._waiting[verb].append((held, item))
        if self._working < IN_FLIGHT:
            self._working += 1
            task = asyncio.get_running_loop().create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def drain(self) -> None:
        """Until everything is told."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._trouble(error)
        self.intake.nudge()

    async def _work(self) -> None:
        try:
            while True:
                for verb in _VERBS:
                    if batch := self._next(verb):
                        await self._send(verb, batch)
                        break
                else:
                    return
        finally:
            self._working -= 1

    def _next(self, verb: Verb) -> list[tuple[Held, Item]]:
        waiting, taken, size = self._waiting[verb], list[tuple[Held, Item]](), 0
        while waiting and len(taken) < MAX_ITEMS and size < MAX_BYTES:
            held, item = waiting.popleft()
            if held.gone:
                continue
            taken.append((held, item))
            if isinstance(item, Completion) and item.response:
                size += len(item.response)
        return taken

    async def _send(self, verb: Verb, batch: list[tuple[Held, Item]]) -> None:
        want = self.intake.offer() if verb != "release" else None
        try:
            settlement = await self._leases.settle(verb, [item for _, item in batch], want)
        except ClientError as error:
            if want is not None:
                self.intake.withdraw(want)
            await self._failed(verb, batch, error)
            return
        for (held, item), result in zip(batch, settlement.results, strict=True):
            if isinstance(result, Refused):
                self._refused(verb, held, item, result)
            else:
                self._holdings.drop(held)
        if want is not None:
            self.intake.accept(want, settlement.claimed)

    async def _failed(self, verb: Verb, batch: list[tuple[Held, Item]], error: ClientError) -> None:
        """Of the whole request: one item that is wrong must not cost the others."""
        if error.retryable:
            self._trouble(error)
            self._waiting[verb].extendleft(reversed(batch))
            await asyncio.sleep(_PAUSE_S)
        elif isinstance(error, Refused) and error.code in _OF_AN_ITEM and len(batch) > 1:
            half = len(batch) // 2
            await self._send(verb, batch[:half])
            await self._send(verb, batch[half:])
        else:
            for held, item in batch:
                self._refused(verb, held, item, error)

    def _refused(self, verb: Verb, held: Held, item: Item, error: ClientError) -> None:
        if error.retryable:
            self._waiting[verb].append((held, item))
            return
        self._trouble(error)
        if verb == "complete" and isinstance(error, Refused) and error.code in _OF_AN_ITEM:
            # The work is done and its response can't be kept: that is for a person to see.
            failed: Failure = hopeless(held.message, error)
            self._waiting["fail"].append((held, failed))
            return
        self._holdings.drop(held)
