"""A raw HTTP/1.1 client for measuring: prepared requests, keep-alive, little work for each answer."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Next = Callable[[bytes], bytes | None]
"""Given the body of the connection's last answer (empty at first), the next request; None ends it."""


@dataclass
class Outcome:
    """Latencies in seconds, in the order of the answers; `refused` counts statuses of 400 and above."""

    latencies: list[float] = field(default_factory=list)
    refused: int = 0
    first_refusal: bytes = b""

    def quantile(self, share: float) -> float:
        """In milliseconds."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Pace:
    """Gives out the moments at which requests are due, at a fixed rate, whatever the answers do."""

    def __init__(self, rate: float) -> None:
        self._step = 1 / rate
        self._due = time.perf_counter()

    def take(self) -> float:
        self._due += self._step
        return self._due


class _Connection(asyncio.Protocol):
    def __init__(self, next_request: Next, outcome: Outcome, pace: Pace | None) -> None:
        self._next, self._outcome, self._pace = next_request, outcome, pace
        self._buffer = bytearray()
        self._began = 0.0
        self._start = self._end = 0
        self._transport: Any = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send(b"")

    def _send(self, answer: bytes) -> None:
        try:
            request = self._next(answer)
        except Exception as error:
            self.done.set_exception(error)
            self._transport.abort()
            return
        if request is None:
            self._transport.close()
            return
        if self._pace is None:
            self._began = time.perf_counter()
            self._transport.write(request)
            return
        # Latency counts from the moment the request was due, so a slow answer can't hide the next ones.
        self._began = self._pace.take()
        wait = self._began - time.perf_counter()
        if wait > 0:
            asyncio.get_running_loop().call_later(wait, self._transport.write, request)
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._end:
            head = self._buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            self._start = head + 4
            length = self._buffer[:head].lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            self._end = self._start + int(length or 0)  # 204 says none
        if len(self._buffer) < self._end:
            return
        self._outcome.latencies.append(time.perf_counter() - self._began)
        answer = bytes(self._buffer[self._start : self._end])
        if self._buffer[9:10] >= b"4":
            self._outcome.refused += 1
            self._outcome.first_refusal = self._outcome.first_refusal or answer
        del self._buffer[: self._end]
        self._end = 0
        self._send(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def eof_received(self) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError("the server closed the connection"))


async def drive(port: int, in_flight: int, next_request: Next, *, rate: float = 0) -> Outcome:
    """Keep `in_flight` connections busy until there are no more requests; with `rate`, so many a second.

    The garbage collector stands still meanwhile: its pauses here would pass for the server's.
    """
    return await drive_lanes(port, in_flight, lambda: next_request, rate=rate)


async def drive_lanes(port: int, in_flight: int, lanes: Callable[[], Next], *, rate: float = 0) -> Outcome:
    """The same, with requests of its own for each connection."""
    outcome = Outcome()
    pace = Pace(rate) if rate else None
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: _Connection(lanes(), outcome, pace), "127.0.0.1", port)
        for _ in range(in_flight)
    ]
    gc.disable()
    try:
        await asyncio.gather(*(connection.done for _, connection in made))
    finally:
        gc.enable()
    return outcome


def request(path: str, content: bytes, key: str = "", method: str = "POST") -> bytes:
    """A whole request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    if key:
        head += f"Authorization: Bearer {key}\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def repeated(content: bytes, count: int) -> Next:
    """The same request `count` times over all connections."""
    left = count

    def next_request(_: bytes) -> bytes | None:
        nonlocal left
        left -= 1
        return content if left >= 0 else None

    return next_request


def each(contents: list[bytes]) -> Next:
    """Each request once."""
    remaining = iter(contents)
    return lambda _: next(remaining, None)
