"""A TCP proxy in front of a unix socket, which can do to the traffic what networks do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, Self, TypeAlias

Trouble: TypeAlias = Literal["", "partition", "half_open", "latency", "trickle", "reset", "refused"]
CHUNK = 65536
LATENCY_S = 0.2


class Link:
    """One way to one server. `trouble` holds for connections that exist as well as for new ones.

    partition: nothing comes through, nothing is closed. half_open: the server's side is closed, the
    client isn't told. latency: every piece is late. trickle: one byte a second. reset: the connection
    breaks in the middle of a reply. refused: connections are closed at once.
    """

    def __init__(self, upstream: Path) -> None:
        self.upstream = upstream
        self.port = 0
        self.trouble: Trouble = ""
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    @asynccontextmanager
    async def suffers(self, trouble: Trouble) -> AsyncIterator[None]:
        """For as long as the block lasts. Afterwards what was held back goes on, or breaks."""
        self._set(trouble)
        try:
            yield
        finally:
            self._set("")

    def _set(self, trouble: Trouble) -> None:
        self.trouble = trouble
        self._changed.set()
        self._changed = asyncio.Event()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # a connection that breaks is what the proxy is for
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self.trouble in ("partition", "half_open"):
            await self._changed.wait()
        if self.trouble == "refused":
            return
        up_reader, up_writer = await asyncio.open_unix_connection(str(self.upstream))
        pumps = [
            asyncio.create_task(self._pump(reader, up_writer)),
            asyncio.create_task(self._pump(up_reader, writer, replies=True)),
        ]
        watch = asyncio.create_task(self._half_open(up_writer))
        try:
            done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            while self.trouble == "half_open":
                await self._changed.wait()
            for pump in done:
                if isinstance(pump.exception(), _ResetError):
                    _reset(writer)
        finally:
            for task in (*pumps, watch):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*pumps, watch, return_exceptions=True)
            up_writer.transport.abort()

    async def _half_open(self, up_writer: asyncio.StreamWriter) -> None:
        while self.trouble != "half_open":
            await self._changed.wait()
        up_writer.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, replies: bool = False
    ) -> None:
        while data := await reader.read(CHUNK):
            while self.trouble in ("partition", "half_open"):
                await self._changed.wait()
            match self.trouble:
                case "latency":
                    await asyncio.sleep(LATENCY_S)
                case "trickle":
                    data = await self._trickle(data, writer)
                case "refused":
                    return
                case "reset" if replies:
                    writer.write(data[: len(data) // 2])
                    await writer.drain()
                    raise _ResetError
            writer.write(data)
            await writer.drain()

    async def _trickle(self, data: bytes, writer: asyncio.StreamWriter) -> bytes:
        """Byte by byte; answers what is left when the trouble is over."""
        while data and self.trouble == "trickle":
            writer.write(data[:1])
            await writer.drain()
            data = data[1:]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._changed.wait()
        return data


class _ResetError(Exception):
    """The connection is to be broken with a reset."""


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
