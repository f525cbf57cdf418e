"""A worker: takes messages, runs their handlers, tells how they ended."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Self

from scaiqueue.client.app import App
from scaiqueue.client.leasing import Return, Strategy
from scaiqueue.client.worker.heartbeat import Heartbeat
from scaiqueue.client.worker.holding import Held, Holdings
from scaiqueue.client.worker.hooks import AllHooks, Hooks, Logs
from scaiqueue.client.worker.intake import Intake
from scaiqueue.client.worker.settling import Settler
from scaiqueue.client.worker.slots import Slots

_LAST_WORDS_S = 10.0


class Worker:
    """Handles the messages of an app's queues.

    `concurrency` bounds the handlers that run at a time; up to `prefetch` more messages wait here for a slot
    (as many again, if it is not given). Leases last `visibility_timeout_s` and are extended for as long as
    the worker lives. At a stop handlers have `grace_s` to end, then they are cancelled and have `cancel_s`;
    what is left then goes back without costing an attempt.
    """

    def __init__(
        self,
        app: App,
        *,
        queues: Sequence[str] | None = None,
        concurrency: int = 10,
        prefetch: int | None = None,
        visibility_timeout_s: float = 30.0,
        wait_s: float = 20.0,
        strategy: Strategy = "fair",
        grace_s: float = 20.0,
        cancel_s: float = 5.0,
        hooks: Sequence[Hooks] = (),
    ) -> None:
        chosen = list(queues or app.handled_queues)
        if not chosen:
            raise ValueError("the app handles no queue: decorate a handler first, or name queues")
        if concurrency < 1 or (prefetch or 0) < 0:
            raise ValueError("concurrency is 1 or more, prefetch 0 or more")
        self._grace_s, self._cancel_s = grace_s, cancel_s
        self._holdings = Holdings(concurrency, concurrency if prefetch is None else prefetch)
        self._hooks = AllHooks((Logs(), *hooks))
        leases = app.client.leases
        trouble = self._hooks.trouble
        self._settler = Settler(leases, self._holdings, trouble)
        self._heartbeat = Heartbeat(leases, self._holdings, visibility_timeout_s, self._unwanted, trouble)
        self._intake = self._settler.intake = Intake(
            leases,
            self._holdings,
            chosen,
            visibility_timeout_s=visibility_timeout_s,
            wait_s=wait_s,
            strategy=strategy if len(chosen) > 1 else "ordered",
            consumer_id=app.client.consumer_id or f"{socket.gethostname()}:{os.getpid()}",
            arrived=lambda: self._slots.fill(),
            settling=lambda: self._settler.busy,
            trouble=trouble,
        )
        self._slots = Slots(
            app, self._holdings, self._hooks, self._settler.add, self._heartbeat.extend, self._intake.nudge
        )
        self._asked = asyncio.Semaphore(0)
        self._task: asyncio.Task[bool] | None = None

    async def __aenter__(self) -> Self:
        """Runs beside the caller, without signals."""
        self._task = asyncio.create_task(self._serve(until_empty=False))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()
        if self._task is not None:
            await self._task

    def stop(self) -> None:
        """Finish what runs and end. A second call ends the grace, a third the time for cancelled handlers."""
        self._asked.release()

    async def run(self, *, until_empty: bool = False) -> bool:
        """Until `stop`, SIGTERM or SIGINT; `until_empty`: or the queues are, which suits tests and cron.

        True when every handler ended by itself. Raises Refused when the queue lets this worker claim nothing.
        """
        with self._signals():
            return await self._serve(until_empty=until_empty)

    async def _serve(self, *, until_empty: bool) -> bool:
        taking = asyncio.create_task(self._intake.run(until_empty=until_empty))
        beating = asyncio.create_task(self._heartbeat.run())
        asked = asyncio.create_task(self._asked.acquire())
        try:
            await asyncio.wait({taking, beating, asked}, return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            clean = await self._wind_down(taking)
        finally:
            for task in (taking, beating, asked):
                task.cancel()
            self._slots.close()
        for task in (taking, beating):
            if task.done() and not task.cancelled():
                task.result()
        return clean

    async def _wind_down(self, taking: asyncio.Task[None]) -> bool:
        running = self._holdings.running
        self._intake.stop()
        taking.cancel()
        await asyncio.wait({taking})
        await self._intake.close()
        self._return(list(self._holdings.waiting))
        self._holdings.waiting.clear()
        if not await self._ended_within(self._grace_s):
            for held in list(running):
                held.stopped = True
                held.interrupt()
            await self._ended_within(self._cancel_s)
            clean = False
        else:
            clean = True
        left = list(running)
        self._slots.closed = True
        self._return(left)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._settler.drain()
        for held in left:
            self._holdings.drop(held)
            if held.task is not None:
                held.task.cancel()
        return clean

    async def _ended_within(self, seconds: float) -> bool:
        """Whether all handlers end in time; another stop ends the time."""
        tasks = {held.task for held in self._holdings.running if held.task is not None}
        if not tasks:
            return True
        ending = asyncio.create_task(asyncio.wait(tasks, timeout=seconds))
        hurry = asyncio.create_task(self._asked.acquire())
        await asyncio.wait({ending, hurry}, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        hurry.cancel()
        return not self._holdings.running

    def _return(self, messages: Sequence[Held]) -> None:
        """Untried, as far as the queue is concerned."""
        for held in messages:
            if not held.gone:
                self._settler.add("release", held, Return(held.message.id, held.message.claim_token))

    def _unwanted(self, held: Held) -> None:
        """A message to be cancelled that no handler has seen ends by its release."""
        if held in self._holdings.waiting:
            self._holdings.waiting.remove(held)
            self._return([held])

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        taken = []
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, self.stop)
                taken.append(number)
        try:
            yield
        finally:
            for number in taken:
                loop.remove_signal_handler(number)
