"""The plumbing of Server-Sent Events, as an ASGI server drives it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from scaiqueue.api import server_sent_events
from scaiqueue.api.server_sent_events import BEAT, EventStream, frame, wants_events
from scaiqueue.errors import Code, QueueError


class Listener:
    """What it was sent; `takes` ends after so many parts, `gone` when it hangs up."""

    def __init__(self, takes: int = 1000) -> None:
        self.parts: list[bytes] = []
        self.gone = asyncio.Event()
        self.heard = asyncio.Event()
        self.full = asyncio.Event()
        self.takes = takes
        self.ended = False

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            if len(self.parts) >= self.takes:
                self.full.set()
                await asyncio.Event().wait()
            self.parts.append(message["body"])
            self.heard.set()
            self.ended = not message["more_body"]

    async def hear(self, frames: AsyncGenerator[bytes, None]) -> None:
        respond = EventStream(b"", frames=frames).response().to_asgi_response(None, None)  # type: ignore[arg-type]
        await respond({}, self.receive, self.send)  # type: ignore[arg-type, typeddict-item]


class Source:
    """Frames until it is told otherwise; `closed` says that nothing holds it any more."""

    def __init__(self, frames: int, fails: Exception | None = None, waits: bool = False) -> None:
        self.left, self.fails, self.waits = frames, fails, waits
        self.asked, self.closed = 0, False

    async def frames(self) -> AsyncGenerator[bytes, None]:
        try:
            while self.left:
                self.left -= 1
                self.asked += 1
                yield frame(self.asked)
            if self.waits:
                await asyncio.Event().wait()
            if self.fails:
                raise self.fails
        finally:
            self.closed = True


def test_the_form_of_a_frame() -> None:
    assert frame("a") == b"data: a\n\n"
    assert frame({"a": "b\n"}, event="e", id="7") == b'event: e\nid: 7\ndata: {"a":"b\\n"}\n\n'
    assert frame(b"a\r\nb\rc\n") == b"data: a\ndata: b\ndata: c\ndata: \n\n"


def test_who_wants_events() -> None:
    assert wants_events("text/event-stream")
    assert wants_events("application/json;q=0.5, Text/Event-Stream; charset=utf-8")
    assert not wants_events("*/*")


async def test_all_is_sent_and_the_source_closed() -> None:
    listener, source = Listener(), Source(3)
    await listener.hear(source.frames())
    assert b"".join(listener.parts) == b"data: 1\n\ndata: 2\n\ndata: 3\n\n"
    assert (listener.ended, source.closed) == (True, True)


async def test_who_hangs_up_holds_nothing() -> None:
    listener, source = Listener(), Source(1, waits=True)
    hearing = asyncio.create_task(listener.hear(source.frames()))
    await listener.heard.wait()
    listener.gone.set()
    await hearing
    assert (listener.ended, source.closed) == (False, True)


async def test_who_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_sent_events, "STALL_S", 0.01)
    listener, source = Listener(takes=2), Source(1000)
    await listener.hear(source.frames())
    assert (len(listener.parts), listener.ended, source.closed) == (2, False, True)
    assert source.asked == 3  # no further than what it was to take next


async def test_a_beat_while_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_sent_events, "BEAT_S", 0.001)
    listener, source = Listener(takes=4), Source(1, waits=True)
    hearing = asyncio.create_task(listener.hear(source.frames()))
    await listener.full.wait()
    listener.gone.set()
    await hearing
    assert listener.parts == [b"data: 1\n\n", BEAT, BEAT, BEAT]
    assert source.closed


async def test_what_fails_ends_it() -> None:
    listener, source = Listener(), Source(1, QueueError(Code.SCAIQUEUE_STREAM_NOT_FOUND))
    await listener.hear(source.frames())
    assert listener.parts[1].startswith(b'event: error\ndata: {"code":"SCAIQUEUE_STREAM_NOT_FOUND"')
    listener, source = Listener(), Source(1, RuntimeError("a fault of ours"))
    await listener.hear(source.frames())
    assert (listener.parts, listener.ended, source.closed) == ([b"data: 1\n\n", b""], True, True)
