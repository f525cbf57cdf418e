"""The client for programs without an event loop: the asynchronous one on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from typing import Any, Self, TypeVar, Unpack

from scaiqueue.client.client import Client
from scaiqueue.client.errors import Refused
from scaiqueue.client.exchange import Backoff
from scaiqueue.client.leasing import Strategy
from scaiqueue.client.messages import Claimed, Draft, Event, Message, Options, Published, Settled
from scaiqueue.client.transport import Transport

T = TypeVar("T")


class SyncClient:
    """As Client; any thread may use it, and calls of several threads run side by side."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        scope: str,
        consumer_id: str | None = None,
        batching: bool = False,
        backoff: Backoff | None = None,
        timeout_s: float = 30.0,
        transport: Transport | None = None,
    ) -> None:
        self._client = Client(
            url,
            key,
            scope=scope,
            consumer_id=consumer_id,
            batching=batching,
            backoff=backoff,
            timeout_s=timeout_s,
            transport=transport,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scaiqueue-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._loop.is_closed():
            return
        self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def publish(self, queue: str, type: str, body: Any = None, **options: Unpack[Options]) -> Published:
        return self._run(self._client.publish(queue, type, body, **options))

    def publish_many(self, queue: str, drafts: Iterable[Draft]) -> list[Published | Refused]:
        return self._run(self._client.publish_many(queue, drafts))

    def claim(
        self,
        queues: str | Sequence[str],
        batch_size: int = 1,
        *,
        wait_s: float = 0,
        visibility_timeout_s: float | None = None,
        strategy: Strategy = "ordered",
    ) -> list[Claimed]:
        return self._run(
            self._client.claim(
                queues,
                batch_size,
                wait_s=wait_s,
                visibility_timeout_s=visibility_timeout_s,
                strategy=strategy,
            )
        )

    def complete(self, message: Claimed, response: Any = None) -> Settled:
        return self._run(self._client.complete(message, response))

    def fail(
        self,
        message: Claimed,
        reason: str = "",
        *,
        retryable: bool | None = None,
        retry_after_s: float | None = None,
    ) -> Settled:
        return self._run(self._client.fail(message, reason, retryable=retryable, retry_after_s=retry_after_s))

    def release(self, message: Claimed, *, delay_s: float | None = None) -> Settled:
        return self._run(self._client.release(message, delay_s=delay_s))

    def extend(self, message: Claimed, visibility_timeout_s: float | None = None) -> Settled:
        return self._run(self._client.extend(message, visibility_timeout_s))

    def wait(self, message: str | Published | Message, timeout_s: float = 60.0) -> Message:
        return self._run(self._client.wait(message, timeout_s))

    def subscribe(self, *types: str, after: str | None = None) -> Iterator[Event]:
        events = self._client.subscribe(*types, after=after)

        async def following() -> Event | None:
            return await anext(events, None)

        try:
            while (event := self._run(following())) is not None:
                yield event
        finally:
            self._run(events.aclose())

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return self._run(self._client.call(method, path, body))

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        """What interrupts the caller ends the call too."""
        running = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return running.result()
        except BaseException:
            running.cancel()
            raise
