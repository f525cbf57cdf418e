"""The asynchronous client of one scope."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any, Self, Unpack
from urllib.parse import quote, urlencode

import msgspec

from scaiqueue.client import payloads
from scaiqueue.client.batching import Batcher
from scaiqueue.client.errors import Refused
from scaiqueue.client.exchange import Backoff, Exchange, read
from scaiqueue.client.leasing import (
    Completion,
    Extension,
    Failure,
    Item,
    Leases,
    Return,
    Strategy,
    Verb,
    Want,
)
from scaiqueue.client.messages import Claimed, Draft, Event, Message, Options, Published, Settled
from scaiqueue.client.publishing import Publisher
from scaiqueue.client.subscription import events
from scaiqueue.client.transport import HttpTransport, Transport

LONGEST_WAIT_S = 20
"""What a server lets one call wait, by its default settings; longer waits are several calls."""


class _Data(msgspec.Struct):
    data: Message


class _Any(msgspec.Struct):
    data: Any = None


_message, _anything = msgspec.json.Decoder(_Data), msgspec.json.Decoder(_Any)


class Client:
    """Publishes into a scope's queues, and claims from them.

    `url` and `key` are those of SCAIGRID_HOST and SCAIGRID_API_KEY where they are not given. With `batching`
    publishes and completes that are made at the same time share requests. `transport` takes the place of
    HTTP, for tests. Nothing is opened before the first call, and everything is used again by the next.
    """

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
        self.scope = scope
        self.consumer_id = consumer_id
        address = url or os.environ.get("SCAIGRID_HOST", "http://127.0.0.1:8080")
        secret = key or os.environ.get("SCAIGRID_API_KEY", "")
        self.exchange = Exchange(transport or HttpTransport(address), secret, backoff or Backoff(), timeout_s)
        self.leases = Leases(self.exchange, scope)
        self._publisher = Publisher(self.exchange, scope)
        self._publishes: dict[str, Batcher[bytes, Published]] | None = {} if batching else None
        self._completes = Batcher[Item, Settled](self._complete_all) if batching else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Waits for the requests that callers share, and lets go of the connections."""
        for batcher in (*(self._publishes or {}).values(), self._completes):
            if batcher is not None:
                await batcher.drain()
        await self.exchange.transport.close()

    async def publish(self, queue: str, type: str, body: Any = None, **options: Unpack[Options]) -> Published:
        """Answers when the message is as durable as its queue says. `body` is a dict, a msgspec Struct, a
        dataclass, a pydantic model or any JSON value. A message published without an idempotency key gets
        one, so that what is repeated after a lost answer makes no second message.
        """
        content = Draft(type, body, **options).ready()
        if self._publishes is None:
            return await self._publisher.one(queue, content)
        if queue not in self._publishes:
            self._publishes[queue] = Batcher(lambda contents: self._publisher.many(queue, contents))
        return await self._publishes[queue].submit(content)

    async def publish_many(self, queue: str, drafts: Iterable[Draft]) -> list[Published | Refused]:
        """One result per draft, in order: each succeeds or is refused by itself."""
        return await self._publisher.many(queue, [draft.ready() for draft in drafts])

    async def claim(
        self,
        queues: str | Sequence[str],
        batch_size: int = 1,
        *,
        wait_s: float = 0,
        visibility_timeout_s: float | None = None,
        strategy: Strategy = "ordered",
    ) -> list[Claimed]:
        """At most `batch_size` messages under a lease; none when there is none within `wait_s`."""
        until = time.monotonic() + wait_s
        while True:
            left_s = max(0.0, until - time.monotonic())
            want = Want(
                queues=[queues] if isinstance(queues, str) else list(queues),
                batch_size=batch_size,
                visibility_timeout_s=visibility_timeout_s,
                wait_s=min(left_s, LONGEST_WAIT_S),
                strategy=strategy,
                consumer_id=self.consumer_id,
            )
            claimed = await self.leases.claim(want)
            if claimed or left_s <= LONGEST_WAIT_S:
                return claimed

    async def complete(self, message: Claimed, response: Any = None) -> Settled:
        """`response` is kept with the message. Raises LeaseLost."""
        item = Completion(message.id, message.claim_token)
        if response is not None:
            item.response = msgspec.Raw(payloads.encode(response))
        if self._completes is not None:
            return await self._completes.submit(item)
        return await self._settle("complete", item)

    async def fail(
        self,
        message: Claimed,
        reason: str = "",
        *,
        retryable: bool | None = None,
        retry_after_s: float | None = None,
    ) -> Settled:
        """It is tried again after the queue's backoff, or goes to the dead letter: at once where `retryable`
        is False. Raises LeaseLost."""
        item = Failure(message.id, message.claim_token, reason, retryable, retry_after_s)
        return await self._settle("fail", item)

    async def release(self, message: Claimed, *, delay_s: float | None = None) -> Settled:
        """Gives it back untried. Raises LeaseLost."""
        return await self._settle("release", Return(message.id, message.claim_token, delay_s))

    async def extend(self, message: Claimed, visibility_timeout_s: float | None = None) -> Settled:
        """The lease ends so long from now. The answer says whether somebody wants the message cancelled.
        Raises LeaseLost."""
        return await self._settle("extend", Extension(message.id, message.claim_token, visibility_timeout_s))

    async def wait(self, message: str | Published | Message, timeout_s: float = 60.0) -> Message:
        """The message, once it has ended or `timeout_s` are over; `state` says which."""
        id = message if isinstance(message, str) else message.id
        until = time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, until - time.monotonic())
            query = urlencode({"timeout_s": round(min(left_s, LONGEST_WAIT_S), 3)})
            path = f"{self._path}/messages/{quote(id, safe='')}/wait?{query}"
            answer = await self.exchange.ask("GET", path, wait_s=left_s)
            found = read(_message, answer).data
            if has_ended(found) or left_s <= LONGEST_WAIT_S:
                return found

    def subscribe(self, *types: str, after: str | None = None) -> AsyncGenerator[Event]:
        """What happens in the scope, for as long as it is iterated: from now, or behind a `place` ("0": all
        that is kept). `types` may end with `*`. A broken connection goes on where it broke off."""
        query = "?" + urlencode({"type": ",".join(types)}) if types else ""
        return events(self.exchange, f"{self._path}/events{query}", after)

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """Any other call of the HTTP API: its `data`. Only GET is repeated after a lost answer."""
        content = None if body is None else payloads.encode(body)
        answer = await self.exchange.ask(method, path, content, repeat=method == "GET")
        return read(_anything, answer).data if answer.content else None

    @property
    def _path(self) -> str:
        return f"/scopes/{quote(self.scope, safe='')}"

    async def _settle(self, verb: Verb, item: Item) -> Settled:
        (result,) = (await self.leases.settle(verb, [item])).results
        if isinstance(result, Refused):
            raise result
        return result

    async def _complete_all(self, items: list[Item]) -> Sequence[Settled | Refused]:
        return (await self.leases.settle("complete", items)).results


def has_ended(message: Message) -> bool:
    """Completed, expired, cancelled, archived, or in the dead letter."""
    return (
        message.state in ("completed", "expired", "cancelled", "archived") or message.queue == "_dead_letter"
    )
