"""Server-Sent Events: an answer that goes on for as long as there are frames and someone who takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

import msgspec
import structlog
from litestar import Response
from litestar.types import Receive, Scope, Send

from scaiqueue.api.answers import Rendered
from scaiqueue.api.failures import error_body
from scaiqueue.errors import QueueError
from scaiqueue.persister.tasks import cancel_all
from scaiqueue.queueing.refusals import of_exception

MEDIA_TYPE = "text/event-stream"
# Something is sent at least so often: proxies keep the connection, and one whose other end is gone is
# noticed.
BEAT_S = 15.0
# A listener who takes nothing for so long is cut off. What is resumable loses nothing by it.
STALL_S = 30.0
BEAT = b": beat\n\n"

Frames = AsyncGenerator[bytes, None]

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
_encode = msgspec.json.Encoder().encode
_log = structlog.get_logger("scaiqueue.api")


def frame(data: object, *, event: str = "", id: str = "") -> bytes:
    """One event. Bytes and text are data as they are, anything else as JSON; neither name nor id may hold a
    line break."""
    raw = data.encode() if isinstance(data, str) else data if isinstance(data, bytes) else _encode(data)
    lines = [f"event: {event}".encode()] if event else []
    if id:
        lines.append(f"id: {id}".encode())
    # Whatever readers take for a line's end.
    lines += [b"data: " + line for line in raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")]
    return b"\n".join(lines) + b"\n\n"


def wants_events(accept: str) -> bool:
    """True where an `Accept` header asks for Server-Sent Events."""
    return any(part.partition(";")[0].strip().lower() == MEDIA_TYPE for part in accept.split(","))


class EventStream(Rendered):
    """Sends `frames` until they end, the caller is gone or takes nothing any more; then closes them.

    They are asked for the next one only when the last was taken, so a slow listener holds one frame. What
    fails in them ends the answer, a QueueError with an event `error`.
    """

    frames: Frames = msgspec.field(default_factory=lambda: _none())

    def response(self) -> Response[bytes]:
        """For Litestar."""
        return _Streaming(self)


async def _none() -> Frames:
    return
    yield b""


class _Streaming(Response[bytes]):
    def __init__(self, stream: EventStream) -> None:
        super().__init__(b"", status_code=stream.status)
        self._stream = stream

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        return self._serve

    async def _serve(self, _scope: Scope, receive: Receive, send: Send) -> None:
        headers: Any = _HEADERS
        await send({"type": "http.response.start", "status": self._stream.status, "headers": headers})
        pump = asyncio.create_task(_pump(self._stream.frames, send))
        gone = asyncio.create_task(_hung_up(receive))
        try:
            await asyncio.wait({pump, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_all([pump, gone])
        if not pump.cancelled() and (error := pump.exception()) is not None:
            raise error


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _pump(frames: Frames, send: Send) -> None:
    async with aclosing(_with_beats(_until_failure(frames))) as sent:
        async for part in sent:
            try:
                async with asyncio.timeout(STALL_S):
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            except TimeoutError:
                _log.info("listener cut off", reason="takes nothing")
                return
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_failure(frames: Frames) -> Frames:
    async with aclosing(frames) as source:
        try:
            async for part in source:
                yield part
        except Exception as error:
            known = error if isinstance(error, QueueError) else of_exception(error)
            if known is None:
                _log.error("unhandled fault in a stream of events", exc_info=error)
            else:
                yield frame(error_body(known), event="error")


async def _with_beats(frames: Frames) -> Frames:
    """The same, and BEAT whenever nothing came for BEAT_S."""
    following: asyncio.Future[bytes] | None = None
    try:
        while True:
            following = asyncio.ensure_future(anext(frames))
            while not (await asyncio.wait({following}, timeout=BEAT_S))[0]:
                yield BEAT
            yield following.result()
    except StopAsyncIteration:
        return
    finally:
        if following is not None and not following.done():
            following.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration):
                await following
        await frames.aclose()
