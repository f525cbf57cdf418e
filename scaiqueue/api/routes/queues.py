"""Queues: their settings, their life, their depths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from scaiqueue import moments
from scaiqueue.api.answers import Rendered
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.api.paging import Page, after, cursor_for, cut
from scaiqueue.api.validation import invalid
from scaiqueue.api.words import Description, DocumentReference, Name, ShortText, Slug
from scaiqueue.errors import Code, Detail
from scaiqueue.keys import SYSTEM_QUEUES
from scaiqueue.queueing.administration import refuse_subscription_queue
from scaiqueue.queueing.depths import Depths
from scaiqueue.queueing.directory import ScopeEntry
from scaiqueue.rows import queues as rows
from scaiqueue.rows.queues import (
    Aging,
    Backoff,
    ConsumerMode,
    Durability,
    Ordering,
    OverflowPolicy,
    QueueRow,
    QueueSettings,
    SchemaMode,
    encode_settings,
)

queues = Registry("Queues")

Depth = Annotated[int, Meta(ge=0, le=1_000_000_000, description="0 is no limit.")]
Retries = Annotated[int, Meta(ge=0, le=100)]
Visibility = Annotated[int, Meta(ge=1, le=43_200)]
Window = Annotated[int, Meta(ge=1, le=2_592_000)]
Retention = Annotated[int, Meta(ge=0, le=315_360_000)]


class CreateQueue(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`ordering` and `consumer_mode` can't be changed later. `schema_mode` overrides the schema's own."""

    slug: Slug
    display_name: Name
    description: Description = ""
    consumer_mode: ConsumerMode = "competing"
    ordering: Ordering = "fifo"
    max_depth: Depth = 0
    overflow_policy: OverflowPolicy = "reject"
    max_retries: Retries = 5
    visibility_timeout_s: Visibility | None = None
    backoff: Backoff = Backoff()
    durability: Durability | None = None
    aging: Aging | None = None
    require_claim_token: bool = False
    idempotency_window_s: Window | None = None
    retention_s: Retention | None = None
    purpose: ShortText | None = None
    schema: DocumentReference | None = None
    schema_mode: SchemaMode | None = None


class ChangeQueue(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    display_name: Name | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    max_depth: Depth | UnsetType = UNSET
    overflow_policy: OverflowPolicy | UnsetType = UNSET
    max_retries: Retries | UnsetType = UNSET
    visibility_timeout_s: Visibility | UnsetType = UNSET
    backoff: Backoff | UnsetType = UNSET
    durability: Durability | UnsetType | None = UNSET
    aging: Aging | UnsetType | None = UNSET
    require_claim_token: bool | UnsetType = UNSET
    idempotency_window_s: Window | UnsetType | None = UNSET
    retention_s: Retention | UnsetType | None = UNSET
    purpose: ShortText | UnsetType | None = UNSET
    schema: DocumentReference | UnsetType | None = UNSET
    schema_mode: SchemaMode | UnsetType | None = UNSET


class Queue(msgspec.Struct, kw_only=True):
    """`state` is the queue's own; `effective_state` is what holds with its scope's state, from the index."""

    id: str
    tenant_id: str
    scope_id: str
    slug: str
    display_name: str
    description: str
    system: bool
    consumer_mode: str
    ordering: str
    max_depth: int
    overflow_policy: str
    max_retries: int
    visibility_timeout_s: int
    backoff: Backoff
    durability: str
    aging: Aging | None
    require_claim_token: bool
    idempotency_window_s: int
    retention_s: int | None
    purpose: str | None
    schema: str | None
    schema_mode: SchemaMode | None
    state: str
    effective_state: str
    depth_pending: int
    depth_claimed: int
    depth_scheduled: int
    oldest_age_s: float | None
    version: int
    created_at: str
    updated_at: str


def refuse_slow_subscribers(mode: ConsumerMode, max_depth: int, policy: OverflowPolicy) -> None:
    if mode == "broadcast" and max_depth and policy == "reject":
        why = "A slow subscription would hold back the others: use drop_oldest or dead_letter"
        raise invalid(Detail("overflow_policy", why))


def view(row: QueueRow, scope: ScopeEntry, depths: Depths, call: Call) -> Queue:
    settings, defaults = row.parsed, call.services.settings
    return Queue(
        id=row.id,
        tenant_id=row.tenant_id,
        scope_id=row.scope_id,
        slug=row.slug,
        display_name=row.display_name,
        description=row.description,
        system=row.slug in SYSTEM_QUEUES,
        consumer_mode=settings.consumer_mode,
        ordering=settings.ordering,
        max_depth=settings.max_depth,
        overflow_policy=settings.overflow_policy,
        max_retries=settings.max_retries,
        visibility_timeout_s=settings.visibility_timeout_s,
        backoff=settings.backoff,
        durability=settings.durability or scope.row.durability or defaults.durability,
        aging=settings.aging,
        require_claim_token=settings.require_claim_token,
        idempotency_window_s=settings.idempotency_window_s or defaults.idempotency_window_s,
        retention_s=settings.retention_s,
        purpose=settings.purpose,
        schema=settings.schema,
        schema_mode=settings.schema_mode,
        state=row.state,
        effective_state=depths.effective_state or row.state,
        depth_pending=depths.pending,
        depth_claimed=depths.claimed,
        depth_scheduled=depths.scheduled,
        oldest_age_s=depths.oldest_age_s,
        version=row.version,
        created_at=moments.text(row.created_at),
        updated_at=moments.text(row.updated_at),
    )


async def views(call: Call, scope: ScopeEntry, found: Sequence[QueueRow]) -> list[Queue]:
    depths = await call.services.depths([(scope.keys.queue(row.slug), row.parsed.ordering) for row in found])
    return [view(row, scope, read, call) for row, read in zip(found, depths, strict=True)]


async def _show(call: Call, scope: ScopeEntry, row: QueueRow, status: int = 200) -> Rendered:
    (shown,) = await views(call, scope, [row])
    return call.one(shown, status)


_create = msgspec.json.Decoder(CreateQueue)
_change = msgspec.json.Decoder(ChangeQueue)


@queues(
    "POST /scopes/{scope}/queues",
    "Create a queue",
    body=CreateQueue,
    answer=Queue,
    status=201,
    errors=(Code.SLUG_CONFLICT, Code.SCAIQUEUE_SCHEMA_NOT_FOUND),
)
async def create_queue(call: Call) -> Rendered:
    scope = await call.scope()
    body = await call.body(_create)
    asked = msgspec.structs.asdict(body)
    refuse_slow_subscribers(body.consumer_mode, body.max_depth, body.overflow_policy)
    if body.schema is not None:
        await call.services.schemas.fresh(scope.id, body.schema)
    asked["visibility_timeout_s"] = (
        asked["visibility_timeout_s"] or call.services.settings.visibility_timeout_s
    )
    row = await call.services.administration.create_queue(
        scope.row,
        slug=asked.pop("slug"),
        display_name=asked.pop("display_name"),
        description=asked.pop("description"),
        settings=QueueSettings(**asked),
    )
    call.queue_slug = row.slug
    return await _show(call, scope, row, 201)


@queues(
    "GET /scopes/{scope}/queues",
    "List a scope's queues in the order of their creation",
    answer=Queue,
    many=True,
    query=Page,
)
async def list_queues(call: Call) -> Rendered:
    """Without those that hold the copies of subscriptions."""
    scope = await call.scope()
    page = call.query(Page)
    allowed = await call.allowed_queues(scope)
    found = await rows.page(
        call.services.engine,
        scope.id,
        after(page.cursor),
        page.limit + 1,
        allowed,
        of_subscriptions=False,
    )
    shown, more = cut(found, page.limit)
    return call.many(await views(call, scope, shown), cursor_for(shown[-1].id) if more else None)


@queues("GET /scopes/{scope}/queues/{queue}", "Get a queue with its depths", answer=Queue)
async def get_queue(call: Call) -> Rendered:
    scope, row = await call.fresh_queue()
    return await _show(call, scope, row)


@queues(
    "PATCH /scopes/{scope}/queues/{queue}",
    "Change a queue's settings",
    body=ChangeQueue,
    answer=Queue,
    errors=(Code.SCAIQUEUE_SYSTEM_QUEUE_READONLY, Code.SCAIQUEUE_SCHEMA_NOT_FOUND),
)
async def change_queue(call: Call) -> Rendered:
    scope, row = await call.fresh_queue()
    refuse_subscription_queue(row)
    body = await call.body(_change)
    asked = msgspec.structs.asdict(body)
    given = {name: value for name, value in asked.items() if value is not UNSET}
    columns: dict[str, object] = {
        name: given.pop(name) for name in ("display_name", "description") if name in given
    }
    if given.get("schema") is not None:
        await call.services.schemas.fresh(scope.id, given["schema"])
    if given:
        settings = msgspec.structs.replace(row.parsed, **given)
        refuse_slow_subscribers(settings.consumer_mode, settings.max_depth, settings.overflow_policy)
        columns["settings"] = encode_settings(settings)
    changed = await call.services.administration.change_queue(scope.row, row, columns)
    return await _show(call, scope, changed)


async def _turn(call: Call, verb: str) -> Rendered:
    scope, row = await call.fresh_queue()
    changed = await call.services.administration.turn_queue(scope.row, row, verb)
    return await _show(call, scope, changed)


_TURN_ERRORS = (Code.SCAIQUEUE_INVALID_STATE, Code.SCAIQUEUE_SYSTEM_QUEUE_READONLY)


@queues(
    "POST /scopes/{scope}/queues/{queue}/pause",
    "Pause: no publish, no claim",
    answer=Queue,
    errors=_TURN_ERRORS,
)
async def pause_queue(call: Call) -> Rendered:
    return await _turn(call, "pause")


@queues(
    "POST /scopes/{scope}/queues/{queue}/resume",
    "Resume a paused or draining queue",
    answer=Queue,
    errors=_TURN_ERRORS,
)
async def resume_queue(call: Call) -> Rendered:
    return await _turn(call, "resume")


@queues("POST /scopes/{scope}/queues/{queue}/drain", "Drain: claims only", answer=Queue, errors=_TURN_ERRORS)
async def drain_queue(call: Call) -> Rendered:
    return await _turn(call, "drain")


@queues(
    "POST /scopes/{scope}/queues/{queue}/archive",
    "Archive: kept, but closed for publish and claim",
    answer=Queue,
    errors=_TURN_ERRORS,
)
async def archive_queue(call: Call) -> Rendered:
    return await _turn(call, "archive")


@queues(
    "POST /scopes/{scope}/queues/{queue}/unarchive",
    "Take a queue out of the archive",
    answer=Queue,
    errors=_TURN_ERRORS,
)
async def unarchive_queue(call: Call) -> Rendered:
    return await _turn(call, "unarchive")
