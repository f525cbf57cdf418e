"""Streams: opened, filled chunk by chunk, followed, closed into a message or aborted."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Any

import msgspec

from scaiqueue.api.answers import Rendered
from scaiqueue.api.drafts import Publish, make_draft
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.api.failures import error_body
from scaiqueue.api.paging import Page, after, cursor_for, cut
from scaiqueue.api.preparation import review_of
from scaiqueue.api.routes.reading import is_stale
from scaiqueue.api.streams import (
    Abort,
    Append,
    Appended,
    AppendedItem,
    Chunk,
    Gap,
    OpenStream,
    State,
    Stream,
    named_stream,
    place,
    stream_view,
)
from scaiqueue.api.validation import invalid
from scaiqueue.api.words import ShortText
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.keys import SYSTEM_QUEUES
from scaiqueue.queueing.directory import QueueEntry
from scaiqueue.rows import streams as rows
from scaiqueue.scripts.binding import StreamItem
from scaiqueue.streams.template import TEXT_TYPE, Template, encode_template, read_template
from scaiqueue.streams.writing import Bounds

streams = Registry("Streams")

MAX_TEMPLATE = 16_384
MOST_GAPS = 20


class StreamPage(Page, frozen=True, kw_only=True):
    state: State | None = None
    queue: ShortText | None = None


_open, _append = msgspec.json.Decoder(OpenStream), msgspec.json.Decoder(Append)
_abort = msgspec.json.Decoder(Abort)
_NOT_OF_THE_MESSAGE = (
    "queue", "content_type", "durability", "max_bytes", "max_chunks", "idle_timeout_s",
)  # fmt: skip
_WRITE_ERRORS = (
    Code.SCAIQUEUE_INVALID_STATE,
    Code.SCAIQUEUE_SCOPE_PAUSED,
    Code.SCAIQUEUE_MEMORY_FULL,
    Code.SCAIQUEUE_BACKLOG_FULL,
)


async def _template(call: Call, queue: QueueEntry, asked: OpenStream) -> Template:
    """Raises for what a publish of this would be refused for, whatever its body."""
    said: dict[str, Any] = msgspec.to_builtins(asked)
    message = {name: value for name, value in said.items() if name not in _NOT_OF_THE_MESSAGE}
    services = call.services
    publish = msgspec.convert({**message, "content_type": asked.content_type}, Publish)
    if asked.schema is not None:
        await services.schemas.get(queue.scope.id, asked.schema)
    review = await review_of(services, queue, publish)
    plain = msgspec.structs.replace(publish, content_type=TEXT_TYPE, body=msgspec.Raw(b'""'))
    draft = make_draft(plain, queue, call.principal.key_id, services.settings, review=review)
    chosen = asked.durability
    template = Template(
        content_type=asked.content_type,
        committed=draft.committed if chosen is None else chosen == "committed",
        message=message,
    )
    if len(encode_template(template)) > MAX_TEMPLATE:
        raise invalid(Detail("labels", f"Everything said of the message takes at most {MAX_TEMPLATE} bytes"))
    return template


@streams(
    "POST /scopes/{scope}/streams",
    "Open a stream",
    body=OpenStream,
    answer=Stream,
    status=201,
    errors=(
        Code.SCAIQUEUE_QUEUE_NOT_FOUND,
        Code.SCAIQUEUE_SYSTEM_QUEUE_READONLY,
        Code.SCAIQUEUE_SCHEMA_NOT_FOUND,
        Code.SCAIQUEUE_PATTERN_NOT_FOUND,
        Code.SCAIQUEUE_SCOPE_PAUSED,
        Code.SCAIQUEUE_MEMORY_FULL,
        Code.SCAIQUEUE_BACKLOG_FULL,
    ),
)
async def open_stream(call: Call) -> Rendered:
    """Chunks are sent to it until it is closed; then they are one message of its queue."""
    scope = await call.scope()
    asked = await call.body(_open)
    services, settings = call.services, call.services.settings
    queue = await call.queue_named(scope, asked.queue)
    if queue.slug in SYSTEM_QUEUES:
        raise QueueError(Code.SCAIQUEUE_SYSTEM_QUEUE_READONLY)
    bounds = Bounds(
        asked.max_bytes or settings.max_body_bytes,
        asked.max_chunks or settings.stream_max_chunks,
        round((asked.idle_timeout_s or settings.stream_idle_timeout_s) * 1000),
    )
    for name, given, most in (
        ("max_bytes", bounds.max_bytes, settings.max_body_bytes),
        ("max_chunks", bounds.max_chunks, settings.stream_max_chunks),
    ):
        if given > most:
            raise invalid(Detail(name, f"At most {most}"))
    template = await _template(call, queue, asked)
    stream_id = await services.stream_writer.open(queue, template, call.principal.key_id, bounds)
    return call.one(stream_view(await services.stream_reader.find(scope, stream_id)), 201)


@streams(
    "GET /scopes/{scope}/streams", "List streams, newest first", answer=Stream, many=True, query=StreamPage
)
async def list_streams(call: Call) -> Rendered:
    """Sees what was done before the call; if the rows are too far behind, `meta.stale` is true."""
    scope = await call.scope()
    asked = call.query(StreamPage)
    wanted = await call.allowed_slugs(scope)
    if asked.queue is not None:
        wanted = [(await call.queue_named(scope, asked.queue)).slug]
    before = after(asked.cursor)
    stale = await is_stale(call, scope)
    engine, limit = call.services.engine, asked.limit + 1
    found = await rows.page(engine, scope.id, before, limit, state=asked.state, queues=wanted)
    shown_rows, more = cut(found, asked.limit)
    following = cursor_for(shown_rows[-1].id) if more else None
    return call.many([stream_view(row) for row in shown_rows], following, stale)


@streams(
    "GET /scopes/{scope}/streams/{stream}",
    "Get a stream",
    answer=Stream,
)
async def get_stream(call: Call) -> Rendered:
    """With its gaps while it is open."""
    scope, row = await named_stream(call)
    if row.state != "open":
        return call.one(stream_view(row))
    gaps = await call.services.stream_reader.missing(scope, row)
    return call.one(stream_view(row, [Gap(*gap) for gap in gaps]))


def _content(chunk: Chunk, encoding: str, most: int, field: str) -> bytes:
    """Raises VALIDATION_ERROR."""
    try:
        data = chunk.data.encode() if encoding == "text" else b64decode(chunk.data, validate=True)
    except (binascii.Error, ValueError):
        what = "text" if encoding == "text" else "base64, since the stream's content type is no text"
        raise invalid(Detail(field, f"Must be {what}")) from None
    if len(data) > most:
        raise invalid(Detail(field, f"At most {most} bytes a chunk"))
    return data


@streams(
    "POST /scopes/{scope}/streams/{stream}/chunks",
    "Send chunks",
    body=Append,
    answer=Appended,
    errors=(*_WRITE_ERRORS, Code.SCAIQUEUE_CHUNK_CONFLICT, Code.SCAIQUEUE_STREAM_FULL),
)
async def append_chunks(call: Call) -> Rendered:
    """In any order; the same chunk again does no harm. A single one that is refused is answered with an
    error; of `chunks` each has its own result."""
    scope, row = await named_stream(call)
    asked = await call.body(_append)
    template, settings = read_template(row.template), call.services.settings
    chunks = asked.chunks
    if chunks is None:
        wrong = [name for name in ("seq", "data") if getattr(asked, name) is None]
        if wrong:
            raise invalid(*(Detail(name, "Required field is missing") for name in wrong))
        assert asked.seq is not None
        assert asked.data is not None
        chunks = [Chunk(asked.seq, asked.data, asked.final)]
    elif asked.seq is not None or asked.data is not None or asked.final:
        raise invalid(Detail("chunks", "Give either seq, data and final or chunks"))
    if not 1 <= len(chunks) <= settings.max_batch_items:
        raise invalid(Detail("chunks", f"1 to {settings.max_batch_items} items"))
    items = []
    for at, chunk in enumerate(chunks):
        field = "data" if asked.chunks is None else f"chunks[{at}].data"
        data = _content(chunk, template.encoding, settings.stream_max_chunk_bytes, field)
        items.append(StreamItem(chunk.seq, data, 1 if chunk.final else ""))
    appended = await call.services.stream_writer.append(
        scope, row.id, call.principal.key_id, items, committed=template.committed
    )
    if asked.chunks is None and isinstance(appended.results[0], QueueError):
        raise appended.results[0]
    now = appended.progress
    results = [
        AppendedItem(chunk.seq, error=error_body(result))
        if isinstance(result, QueueError)
        else AppendedItem(chunk.seq, result)
        for chunk, result in zip(chunks, appended.results, strict=True)
    ]
    return call.one(
        Appended(
            stream_id=row.id,
            state=now.state,
            chunks=now.chunk_count,
            bytes=now.byte_count,
            next_missing=now.next_seq,
            highest_seq=place(now.highest_seq),
            final_seq=place(now.final_seq),
            gap=now.next_seq <= now.highest_seq,
            results=results,
        )
    )


@streams(
    "POST /scopes/{scope}/streams/{stream}/close",
    "Close a stream: its chunks become a message",
    answer=Stream,
    errors=(*_WRITE_ERRORS, Code.SCAIQUEUE_STREAM_INCOMPLETE, Code.SCAIQUEUE_SCHEMA_VALIDATION_FAILED),
    other_statuses={202: "Closed, but the queue takes no message now: it gets this one as soon as it does."},
)
async def close_stream(call: Call) -> Rendered:
    """Answers when the rows hold the message; closing it again answers the same. What a publish of the
    content would be refused for is answered with that error, and the stream has `failed`."""
    scope, row = await named_stream(call)
    services = call.services
    progress = await services.stream_writer.close(scope, row.id, call.principal.key_id)
    if progress is not None and progress.state == "open":
        gaps = await services.stream_reader.missing(scope, await services.stream_reader.find(scope, row.id))
        named = (
            Detail("chunks", str(first) if first == last else f"{first} to {last}") for first, last in gaps
        )
        raise QueueError(Code.SCAIQUEUE_STREAM_INCOMPLETE, details=tuple(named)[:MOST_GAPS])
    stream = await services.assembler.assemble(scope, row.id)
    if stream.state == "failed":
        code, _, text = stream.reason.partition(": ")
        raise QueueError(Code[code] if code in Code.__members__ else Code.SCAIQUEUE_INVALID_STATE, text)
    return call.one(stream_view(stream), 202 if stream.state == "closed" else 200)


@streams(
    "POST /scopes/{scope}/streams/{stream}/abort",
    "Abort a stream",
    body=Abort,
    body_optional=True,
    answer=Stream,
    errors=(Code.SCAIQUEUE_INVALID_STATE,),
)
async def abort_stream(call: Call) -> Rendered:
    """It becomes no message; those who follow it hear of it. Once more does no harm."""
    scope, row = await named_stream(call)
    asked = await call.body(_abort, optional=True)
    await call.services.stream_writer.abort(scope, row.id, call.principal.key_id, asked.reason or "aborted")
    return call.one(stream_view(await call.services.stream_reader.find(scope, row.id)))
