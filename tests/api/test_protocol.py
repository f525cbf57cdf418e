"""Writes that are joined arrive whole and in order, over a real socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from scaiqueue.api.protocol import HELD_BYTES, JoiningTransport

Pair = tuple[JoiningTransport, asyncio.StreamReader]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    reader, writer = await asyncio.open_connection(sock=theirs)
    yield JoiningTransport(transport, loop), reader
    transport.close()
    writer.close()


async def test_head_and_body_arrive_together(pair: Pair) -> None:
    transport, reader = pair
    transport.write(b"head")
    transport.write(b"body")
    assert await reader.read(100) == b"headbody"
    transport.write(b"next")
    assert await reader.read(100) == b"next"


async def test_closing_sends_what_is_held(pair: Pair) -> None:
    transport, reader = pair
    transport.write(b"last")
    transport.write(b" words")
    transport.close()
    assert await reader.read() == b"last words"
    assert transport.is_closing()


async def test_much_is_not_held(pair: Pair) -> None:
    transport, reader = pair
    parts = [bytes([n]) * (HELD_BYTES // 3) for n in range(20)]
    for part in parts:
        transport.write(part)
    transport.close()
    assert await reader.read() == b"".join(parts)
