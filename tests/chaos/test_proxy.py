"""The proxy does to connections what it says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos.proxy import LATENCY_S, Link, Trouble
from tests.eventually import eventually


class Echo:
    """A server on a unix socket that answers every line with itself, and counts who is connected."""

    def __init__(self) -> None:
        self.connected = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected += 1
        try:
            while line := await reader.readline():
                writer.write(line)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            self.connected -= 1
            writer.close()


class Pair:
    """A client's end through the link."""

    def __init__(self, link: Link, echo: Echo) -> None:
        self.link, self.echo = link, echo

    async def open(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.link.port)

    async def ask(self, line: bytes) -> bytes:
        self.writer.write(line)
        return await self.reader.readline()


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    echo = Echo()
    server = await asyncio.start_unix_server(echo.serve, str(tmp_path / "echo"))
    link = await Link(tmp_path / "echo").start()
    pair = Pair(link, echo)
    await pair.open()
    assert await pair.ask(b"first\n") == b"first\n"
    yield pair
    pair.writer.close()
    await link.close()
    server.close()


async def test_a_partition_holds_back_and_closes_nothing(pair: Pair) -> None:
    async with pair.link.suffers("partition"):
        asking = asyncio.create_task(pair.ask(b"held\n"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(asking), 0.05)
    assert await asking == b"held\n"


async def test_half_open_closes_the_server_s_side_alone(pair: Pair) -> None:
    async with pair.link.suffers("half_open"):
        await eventually(lambda: pair.echo.connected == 0)
        assert not pair.reader.at_eof()
    assert await pair.ask(b"too late\n") == b""


async def test_latency_delays_each_way(pair: Pair) -> None:
    async with pair.link.suffers("latency"):
        begun = asyncio.get_running_loop().time()
        assert await pair.ask(b"late\n") == b"late\n"
        assert asyncio.get_running_loop().time() - begun >= 2 * LATENCY_S


async def test_a_trickle_gives_one_byte_after_the_other(pair: Pair) -> None:
    async with pair.link.suffers("trickle"):
        pair.writer.write(b"slow\n")
        assert pair.echo.connected == 1
        asking = asyncio.create_task(pair.reader.readline())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(asking), 0.05)
    assert await asking == b"slow\n"


async def test_a_reset_comes_in_the_middle_of_a_reply(pair: Pair) -> None:
    async with pair.link.suffers("reset"):
        pair.writer.write(b"0123456789\n")
        with pytest.raises(ConnectionResetError):
            await pair.reader.readexactly(11)


@pytest.mark.parametrize("trouble", ["refused"])
async def test_refused_connections_are_closed(pair: Pair, trouble: Trouble) -> None:
    async with pair.link.suffers(trouble):
        other = Pair(pair.link, pair.echo)
        await other.open()
        assert await other.reader.read() == b""
        assert await pair.ask(b"no\n") == b""
