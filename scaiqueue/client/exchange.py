"""Calls that are repeated where that helps, as the error registry says."""

from __future__ import annotations

import asyncio
import random
from itertools import count
from typing import TypeVar

import msgspec

from scaiqueue.client.errors import ClientError, Unreachable, of_answer
from scaiqueue.client.transport import Answer, Transport

T = TypeVar("T")


def read(decoder: msgspec.json.Decoder[T], answer: Answer) -> T:
    """Raises Unreachable: what stands between answered in the queue's place."""
    try:
        return decoder.decode(answer.content)
    except msgspec.DecodeError as error:
        raise Unreachable(f"status {answer.status}, not from the queue: {error}") from None


class Backoff(msgspec.Struct, frozen=True):
    """Waits are random between nothing and twice the last bound (full jitter); a server's Retry-After comes
    on top. `attempts` counts the first one."""

    attempts: int = 6
    base_s: float = 0.1
    max_s: float = 20.0

    def wait_s(self, attempt: int, error: ClientError) -> float | None:
        """How long until the next attempt after `attempt`; None: there is none."""
        asked = error.retry_after or 0.0
        if attempt >= self.attempts or not error.retryable or asked > self.max_s:
            return None
        return asked + random.uniform(0, min(self.max_s, self.base_s * 2**attempt))


class Exchange:
    """One key's way to the queue. What is sent through it may be repeated unless `repeat` is false."""

    def __init__(self, transport: Transport, key: str, backoff: Backoff, timeout_s: float) -> None:
        self.transport = transport
        self.backoff = backoff
        self._timeout_s = timeout_s
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    async def ask(
        self, method: str, path: str, content: bytes | None = None, *, repeat: bool = True, wait_s: float = 0
    ) -> Answer:
        """An answer that is no error; `wait_s` is how long the server may take on purpose.

        Raises Refused and Unreachable.
        """
        for attempt in count(1):
            try:
                answer = await self.transport.send(
                    method, path, content, self.headers, self._timeout_s + wait_s
                )
                if answer.status < 400:
                    return answer
                error = of_answer(answer.status, answer.content, answer.headers.get("Retry-After"))
            except ClientError as unreachable:
                error = unreachable
            pause_s = self.backoff.wait_s(attempt, error) if repeat else None
            if pause_s is None:
                raise error
            await asyncio.sleep(pause_s)
        raise AssertionError("unreachable")
