"""Following a stream: by long poll, by Server-Sent Events, or all that is there at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import msgspec
from msgspec import Meta

from scaiqueue.access.gate import Standing
from scaiqueue.api.admission import standing
from scaiqueue.api.answers import Rendered
from scaiqueue.api.endpoint import Call, Parameter, Registry
from scaiqueue.api.server_sent_events import EventStream, frame, wants_events
from scaiqueue.api.streams import Assembled, Chunks, named_stream, stored_chunk, stream_view
from scaiqueue.api.validation import invalid
from scaiqueue.errors import Detail
from scaiqueue.queueing.directory import ScopeEntry
from scaiqueue.rows.streams import StreamRow
from scaiqueue.streams.reading import CHUNKS_A_PAGE, Part
from scaiqueue.streams.template import read_template, shown

following = Registry("Streams")

DONE = "done"
LAST_EVENT_ID = "Last-Event-ID"


class ChunkQuery(msgspec.Struct, frozen=True, kw_only=True):
    after: Annotated[
        int, Meta(ge=-1, le=9999, description="Chunks behind this one; -1: from the first.")
    ] = -1
    limit: Annotated[int, Meta(ge=1, le=CHUNKS_A_PAGE)] = CHUNKS_A_PAGE
    wait_s: Annotated[float, Meta(ge=0, description="Wait so long where there is none yet.")] = 0.0


@following(
    "GET /scopes/{scope}/streams/{stream}/assembled",
    "Get what is there of a stream, joined",
    answer=Assembled,
)
async def assembled(call: Call) -> Rendered:
    """Of an open stream too: up to the first chunk that is missing."""
    scope, row = await named_stream(call)
    stream, content = await call.services.stream_reader.content(scope, row.id)
    template = read_template(stream.template)
    encoding, data = shown(template, content)
    complete = stream.state in ("closed", "assembled", "failed")
    return call.one(
        Assembled(stream.id, stream.state, template.content_type, encoding, data, len(content), complete)
    )


@following(
    "GET /scopes/{scope}/streams/{stream}/chunks",
    "Follow a stream",
    answer=Chunks,
    query=ChunkQuery,
    parameters=(
        Parameter(
            LAST_EVENT_ID, "With Server-Sent Events, the last chunk received; before `after`.", place="header"
        ),
    ),
    other_statuses={204: "With `Last-Event-ID: done`: all was received, there is no need to ask again."},
)
async def follow_stream(call: Call) -> Rendered:
    """With `Accept: text/event-stream` as Server-Sent Events: each chunk an event whose id is its `seq`, in
    order; when the stream has ended an event `stream` with what became of it, and `[DONE]`. Otherwise the
    chunks behind `after`, at most `limit`, waiting for the first at most `wait_s`."""
    scope, row = await named_stream(call)
    asked = call.query(ChunkQuery)
    if wants_events(call.request.headers.get("accept", "")):
        last = call.request.headers.get("last-event-id")
        if last == DONE:
            return Rendered(b"", 204)
        return EventStream(b"", frames=_events(call, scope, row, _last_seq(last, asked.after)))
    if asked.wait_s > call.services.settings.max_wait_s:
        raise invalid(Detail("wait_s", f"At most {call.services.settings.max_wait_s}"))
    part = await _awaited(call, scope, row, asked)
    template = read_template(part.stream.template)
    chunks = [stored_chunk(template, seq, data) for seq, data in part.chunks]
    return call.one(Chunks(chunks, part.after, part.done, stream_view(part.stream)))


async def _standing(call: Call, scope: ScopeEntry, queue: str) -> Standing:
    place = await call.services.directory.queue(scope, queue)
    return standing(call, scope.id, [place.owner_id])


async def _awaited(call: Call, scope: ScopeEntry, row: StreamRow, asked: ChunkQuery) -> Part:
    stream_id, queue = row.id, row.queue
    reader = call.services.stream_reader
    if not asked.wait_s:
        return await reader.part(scope, stream_id, asked.after, asked.limit)
    gone = asyncio.ensure_future(_disconnected(call))
    try:
        check = await _standing(call, scope, queue)
        return await reader.await_part(scope, stream_id, asked.after, asked.limit, asked.wait_s, gone, check)
    finally:
        gone.cancel()


async def _disconnected(call: Call) -> None:
    while (await call.request.receive())["type"] != "http.disconnect":
        pass


def _last_seq(given: str | None, otherwise: int) -> int:
    if given is None:
        return otherwise
    if not given.isascii() or not given.isdigit() or len(given) > 4:
        raise invalid(Detail(LAST_EVENT_ID, "Not the id of a chunk's event"))
    return int(given)


async def _events(call: Call, scope: ScopeEntry, row: StreamRow, start: int) -> AsyncGenerator[bytes, None]:
    check = await _standing(call, scope, row.queue)
    async with aclosing(call.services.stream_reader.follow(scope, row.id, start)) as parts:
        async for part in parts:
            # Whose key was revoked meanwhile, or kept out, hears nothing more.
            await check()
            template = read_template(part.stream.template)
            if part.chunks:
                pieces = [(seq, stored_chunk(template, seq, data)) for seq, data in part.chunks]
                yield b"".join([frame(piece, id=str(seq)) for seq, piece in pieces])
            if part.done:
                yield frame(stream_view(part.stream), event="stream")
                yield frame("[DONE]", id=DONE)
