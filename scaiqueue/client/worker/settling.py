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

    @property
    def busy(self) -> bool:
        return bool(self._tasks)

    def add(self, verb: Verb, held: Held, item: Item) -> None:
        self._waiting[verb].append((held, item))
        if len(self._tasks) < IN_FLIGHT:
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
        while True:
            for verb in _VERBS:
                if batch := self._next(verb):
                    await self._send(verb, batch)
                    break
            else:
                return

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
            self._trouble(error)
            if error.retryable:
                self._waiting[verb].extendleft(reversed(batch))
                await asyncio.sleep(_PAUSE_S)
            else:
                for held, _ in batch:
                    self._holdings.drop(held)
            return
        for (held, item), result in zip(batch, settlement.results, strict=True):
            if isinstance(result, Refused):
                self._refused(verb, held, item, result)
            else:
                self._holdings.drop(held)
        if want is not None:
            self.intake.accept(want, settlement.claimed)

    def _refused(self, verb: Verb, held: Held, item: Item, error: Refused) -> None:
        if error.retryable:
            self._waiting[verb].append((held, item))
            return
        self._trouble(error)
        if verb == "complete" and error.code in ("SCAIQUEUE_MESSAGE_TOO_LARGE", "VALIDATION_ERROR"):
            # The work is done and its response can't be kept: that is for a person to see.
            failed: Failure = hopeless(held.message, error)
            self._waiting["fail"].append((held, failed))
            return
        self._holdings.drop(held)
