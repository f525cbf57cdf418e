"""Streams as callers send and see them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from scaiqueue import moments
from scaiqueue.api.drafts import ContentType, Labels, Retries, YearSeconds
from scaiqueue.api.endpoint import Call
from scaiqueue.api.failures import ErrorBody
from scaiqueue.api.words import DocumentReference, Moment, ShortText, Uuid
from scaiqueue.errors import Code, QueueError
from scaiqueue.queueing.directory import ScopeEntry
from scaiqueue.queueing.header import Priority, Source
from scaiqueue.review.pattern import PatternUse
from scaiqueue.review.spec import Spec
from scaiqueue.rows.streams import StreamRow
from scaiqueue.streams.template import TEXT_TYPE, Template, read_template, shown

Seq = Annotated[int, Meta(ge=0, le=9999, description="The chunk's place, from 0.")]
State = Literal["open", "closed", "assembled", "failed", "aborted"]


class OpenStream(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """`queue` is where the message goes, an id or a slug; what else is said of it is as with a publish.
    Chunks are text where `content_type` is `text/…` or JSON, else base64."""

    queue: ShortText
    type: ShortText
    content_type: ContentType = TEXT_TYPE
    priority: Priority = Priority()
    labels: Labels = {}
    correlation_id: ShortText | None = None
    causation_id: ShortText | None = None
    parent_id: Uuid | None = None
    source: Source | None = None
    ttl_seconds: YearSeconds | None = None
    deadline: Moment | None = None
    max_retries: Retries | None = None
    hitl_spec: Spec | None = None
    hitl_pattern: PatternUse | None = None
    schema: DocumentReference | None = None
    durability: Literal["committed", "indexed"] | None = None
    max_bytes: Annotated[int, Meta(ge=1)] | None = None
    max_chunks: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    idle_timeout_s: Annotated[float, Meta(ge=1, le=86_400)] | None = None


class Chunk(msgspec.Struct, forbid_unknown_fields=True):
    """`final`: there is none after it."""

    seq: Seq
    data: str
    final: bool = False


class Append(msgspec.Struct, forbid_unknown_fields=True):
    """One chunk, or up to 1,000 as `chunks`, in any order."""

    seq: Seq | None = None
    data: str | None = None
    final: bool = False
    chunks: list[Chunk] | None = None


class Abort(msgspec.Struct, forbid_unknown_fields=True):
    reason: ShortText | None = None


class Gap(msgspec.Struct):
    """Missing chunks, the first and the last of them."""

    first: int
    last: int


class Stream(msgspec.Struct, kw_only=True):
    """`next_missing` is the first chunk that is not there; `missing` names the gaps, where an open stream is
    asked for by itself. `message_id` is the message of an `assembled` one, `reason` why it `failed` or was
    `aborted`: `idle` where no chunk came for `idle_timeout_s`."""

    id: str
    tenant_id: str
    scope_id: str
    queue: str
    state: str
    message_type: str
    content_type: str
    encoding: str
    labels: dict[str, str]
    correlation_id: str | None
    chunks: int
    bytes: int
    next_missing: int
    highest_seq: int | None
    final_seq: int | None
    missing: list[Gap] | None
    max_bytes: int
    max_chunks: int
    idle_timeout_s: float
    durability: str
    message_id: str | None
    reason: str | None
    created_at: str
    updated_at: str


class AppendedItem(msgspec.Struct, omit_defaults=True):
    """`result` is `stored` or `duplicate`; or `error`."""

    seq: int
    result: str | None = None
    error: ErrorBody | None = None


class Appended(msgspec.Struct):
    """`gap`: a chunk before the highest one is missing, the first of them `next_missing`."""

    stream_id: str
    state: str
    chunks: int
    bytes: int
    next_missing: int
    highest_seq: int | None
    final_seq: int | None
    gap: bool
    results: list[AppendedItem]


class StoredChunk(msgspec.Struct):
    """`encoding` is `text`, or `base64` of what is no text."""

    seq: int
    encoding: str
    data: str


class Chunks(msgspec.Struct):
    """Chunks in order, without a gap. `after` goes with the next call; `done`: there will be no more."""

    chunks: list[StoredChunk]
    after: int
    done: bool
    stream: Stream


class Assembled(msgspec.Struct):
    """What is there up to the first gap, joined; `complete`: that is all, and will not grow."""

    stream_id: str
    state: str
    content_type: str
    encoding: str
    data: str
    bytes: int
    complete: bool


def place(seq: int) -> int | None:
    return None if seq < 0 else seq


def stream_view(row: StreamRow, missing: list[Gap] | None = None) -> Stream:
    template = read_template(row.template)
    said = template.message
    labels, correlation_id = said.get("labels"), said.get("correlation_id")
    return Stream(
        id=row.id,
        tenant_id=row.tenant_id,
        scope_id=row.scope_id,
        queue=row.queue,
        state=row.state,
        message_type=str(said.get("type", "")),
        content_type=template.content_type,
        encoding=template.encoding,
        labels=labels if isinstance(labels, dict) else {},
        correlation_id=correlation_id if isinstance(correlation_id, str) else None,
        chunks=row.chunk_count,
        bytes=row.byte_count,
        next_missing=row.next_seq,
        highest_seq=place(row.highest_seq),
        final_seq=place(row.final_seq),
        missing=missing,
        max_bytes=row.max_bytes,
        max_chunks=row.max_chunks,
        idle_timeout_s=row.idle_ms / 1000,
        durability="committed" if template.committed else "indexed",
        message_id=row.message_id or None,
        reason=row.reason or None,
        created_at=moments.text(row.created_at),
        updated_at=moments.text(row.updated_at),
    )


def stored_chunk(template: Template, seq: int, data: bytes) -> StoredChunk:
    return StoredChunk(seq, *shown(template, data))


async def named_stream(call: Call) -> tuple[ScopeEntry, StreamRow]:
    """The stream that the path names. Those of queues that are closed to the key are refused."""
    scope = await call.scope()
    stream_id = call.path("stream").lower()
    try:
        msgspec.convert(stream_id, Uuid)
    except msgspec.ValidationError:
        raise QueueError(Code.SCAIQUEUE_STREAM_NOT_FOUND) from None
    row = await call.services.stream_reader.find(scope, stream_id)
    if not call.sees_all(scope):
        await call.queue_named(scope, row.queue)
    return scope, row
