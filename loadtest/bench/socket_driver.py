"""A raw WebSocket client for measuring: many calls in flight on one connection, little work for each."""

from __future__ import annotations

import asyncio
import gc
import time
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from loadtest.bench.http_driver import Next, Outcome

_REFUSED = b'"ok":false'


class _Lanes(asyncio.Protocol):
    """A call's id is the number of the lane that waits for it."""

    def __init__(self, key: str, lanes: list[Next], outcome: Outcome) -> None:
        self._key, self._lanes, self._outcome = key, lanes, outcome
        self._buffer = bytearray()
        self._began = [0.0] * len(lanes)
        self._left = len(lanes)
        self._open = False
        self._transport: Any = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        nonce = b64encode(bytes(16)).decode()
        head = (
            "GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {nonce}\r\n"
            f"Authorization: Bearer {self._key}\r\n"
        )
        self._transport.write(f"{head}\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            if not self._open:
                end = self._buffer.find(b"\r\n\r\n")
                if end < 0:
                    return
                if not self._buffer.startswith(b"HTTP/1.1 101"):
                    raise ConnectionError(bytes(self._buffer[:300]))
                del self._buffer[: end + 4]
                self._open = True
                self._transport.write(b"".join(self._next(lane, b"") for lane in range(len(self._lanes))))
            self._answers()
        except Exception as error:
            if not self.done.done():
                self.done.set_exception(error)
            self._transport.abort()

    def _answers(self) -> None:
        at, calls, buffer = 0, [], self._buffer
        while (size := _length(buffer, at)) is not None:
            start, end = size
            answer = bytes(buffer[start:end])
            at = end
            lane = int(answer[6 : answer.index(b",")])
            self._outcome.latencies.append(time.perf_counter() - self._began[lane])
            if _REFUSED in answer[:40]:
                self._outcome.refused += 1
                self._outcome.first_refusal = self._outcome.first_refusal or answer
            calls.append(self._next(lane, answer))
        del buffer[:at]
        if calls:
            self._transport.write(b"".join(calls))
        if not self._left:
            self._transport.close()

    def _next(self, lane: int, answer: bytes) -> bytes:
        call = self._lanes[lane](answer)
        if call is None:
            self._left -= 1
            return b""
        self._began[lane] = time.perf_counter()
        return _frame(b'{"id":%d,%b' % (lane, call))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            if self._left:
                self.done.set_exception(exc or ConnectionError("the server closed the connection"))
            else:
                self.done.set_result(None)


def _frame(text: bytes) -> bytes:
    """Masked with zeros, which is a mask like any other and costs nothing."""
    size = len(text)
    head = b"\x81" + (bytes((128 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2))
    return head + b"\0\0\0\0" + text


def _length(buffer: bytearray, at: int) -> tuple[int, int] | None:
    """Where the next frame's content begins and ends, once it is whole."""
    if len(buffer) < at + 2:
        return None
    size, start = buffer[at + 1], at + 2
    if size == 126:
        size, start = int.from_bytes(buffer[at + 2 : at + 4]), at + 4
    elif size == 127:
        size, start = int.from_bytes(buffer[at + 2 : at + 10]), at + 10
    return (start, start + size) if len(buffer) >= start + size else None


async def drive_socket(port: int, key: str, in_flight: int, lanes: Callable[[], Next]) -> Outcome:
    """One connection with `in_flight` lanes; a lane's calls are JSON objects without their first brace."""
    outcome = Outcome()
    made = [lanes() for _ in range(in_flight)]
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: _Lanes(key, made, outcome), "127.0.0.1", port)
    gc.disable()  # its pauses here would pass for the server's
    try:
        await connection.done
    finally:
        gc.enable()
    return outcome
