"""Runs handlers, never more at a time than `concurrency`."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import msgspec

from scaiqueue.client import payloads, tracing
from scaiqueue.client.app import App
from scaiqueue.client.errors import PayloadError
from scaiqueue.client.jobs import Handling
from scaiqueue.client.leasing import Completion, Failure, Item, Return, Verb
from scaiqueue.client.messages import Claimed
from scaiqueue.client.worker.context import Context, Extend, ThreadContext
from scaiqueue.client.worker.holding import Held, Holdings
from scaiqueue.client.worker.hooks import Hooks, Result
from scaiqueue.client.worker.outcomes import failure, hopeless

Settle = Callable[[Verb, Held, Item], None]


class NoHandler(Exception):
    """Another worker may have one: the attempt fails like any other."""


class Slots:
    """A task for each handler that runs. `settle` hears of every end but that of a lost lease."""

    def __init__(
        self,
        app: App,
        holdings: Holdings,
        hooks: Hooks,
        settle: Settle,
        extend: Extend,
        freed: Callable[[], None],
    ) -> None:
        self._app = app
        self._holdings = holdings
        self._hooks = hooks
        self._settle = settle
        self._extend = extend
        self._freed = freed
        self._threads = ThreadPoolExecutor(holdings.concurrency, "scaiqueue-handler")
        self._tracing = tracing.active()
        self.closed = False

    def fill(self) -> None:
        """Give free slots to what waits for one."""
        running, waiting = self._holdings.running, self._holdings.waiting
        create = asyncio.get_running_loop().create_task
        while waiting and len(running) < self._holdings.concurrency and not self.closed:
            held = waiting.popleft()
            if held.gone:
                continue
            running.add(held)
            held.task = create(self._run(held))

    def close(self) -> None:
        self.closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, held: Held) -> None:
        message = held.message
        began = time.perf_counter()
        verb: Verb = "complete"
        error: BaseException | None = None
        item: Item
        try:
            held.begun = True
            self._hooks.started(message)
            if held.gone or held.stopped:
                raise asyncio.CancelledError
            handling = held.handling = self._app.handler_of(message)
            if handling is None:
                raise NoHandler(f"no handler for type {message.type!r} in queue {message.queue!r}")
            payload = _payload(handling, message)
            if self._tracing or not handling.plain:
                result = await self._surrounded(handling, held, payload)
            elif handling.with_context:
                result = await handling.call(payload, Context(held, self._extend, self._progressed))
            else:
                result = await handling.call(payload)
            item = Completion(message.id, message.claim_token)
            if result is not None:
                item.response = msgspec.Raw(payloads.encode(result))
        except asyncio.CancelledError as cancelled:
            error = cancelled
            verb, item = self._after(held, cancelled)
        except _Unfit as unfit:
            error = unfit.__cause__
            verb, item = "fail", hopeless(message, unfit.__cause__ or unfit)
        except Exception as raised:
            error = raised
            verb, item = self._after(held, raised)
        finally:
            self._holdings.running.discard(held)
        self._hooks.ended(message, _result(held, verb, item), time.perf_counter() - began, error)
        if held.gone:
            self._freed()
        else:
            self._settle(verb, held, item)
        self.fill()

    def _after(self, held: Held, error: BaseException) -> tuple[Verb, Item]:
        """A handler that ends because the worker must has not failed."""
        message = held.message
        if held.stopped:
            return "release", Return(message.id, message.claim_token)
        return "fail", failure(message, held.handling, error)

    async def _surrounded(self, handling: Handling, held: Held, payload: Any) -> Any:
        """In a span, a thread, a time limit."""
        with tracing.handling(held.message) if self._tracing else nullcontext():
            if not handling.asynchronous:
                return await self._in_thread(handling, held, payload)
            context = (Context(held, self._extend, self._progressed),) if handling.with_context else ()
            async with asyncio.timeout(handling.timeout_s):
                return await handling.call(payload, *context)

    async def _in_thread(self, handling: Handling, held: Held, payload: Any) -> Any:
        loop = asyncio.get_running_loop()
        arguments = [payload]
        if handling.with_context:
            arguments.append(ThreadContext(held, self._extend, self._progressed, loop))
        context = contextvars.copy_context()
        return await loop.run_in_executor(self._threads, context.run, handling.call, *arguments)

    def _progressed(self, held: Held, share: float, note: str) -> None:
        self._hooks.progressed(held.message, share, note)


def _payload(handling: Handling, message: Claimed) -> Any:
    try:
        return handling.payload(message)
    except PayloadError as error:
        raise _Unfit from error


class _Unfit(Exception):
    """The payload does not fit its type; the cause says where."""


def _result(held: Held, verb: Verb, item: Item) -> Result:
    if held.gone:
        return "lost"
    if isinstance(item, Failure):
        return "dead_letter" if item.retryable is False else "failed"
    return "completed" if verb == "complete" else "released"
