"""Subscriptions: each gets its own copy of what is published in a broadcast queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from scaiqueue import moments
from scaiqueue.api.answers import Rendered
from scaiqueue.api.claims import Claim
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.api.routes.claiming import CLAIM_ERRORS, take
from scaiqueue.api.routes.removing import Deleted, Deletion
from scaiqueue.api.validation import invalid
from scaiqueue.api.words import Slug
from scaiqueue.broadcast.filters import Filter, decode_filter
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.queueing.directory import ScopeEntry
from scaiqueue.queueing.message import ClaimedMessage
from scaiqueue.queueing.subscriptions import Asked
from scaiqueue.records import State
from scaiqueue.rows import subscriptions as rows
from scaiqueue.rows.queues import QueueRow
from scaiqueue.rows.subscriptions import SubscriptionRow

subscriptions = Registry("Subscriptions")

_OF_QUEUE = "/scopes/{scope}/queues/{queue}/subscriptions"
_ONE = _OF_QUEUE + "/{subscription}"
Window = Annotated[
    int,
    Meta(
        ge=0,
        le=2_592_000,
        description="At most one copy for each idempotency key within so long; 0: no matter.",
    ),
]
Start = Annotated[
    Literal["latest", "earliest"],
    Meta(description="`latest`: what is published from now on. `earliest`: also what is kept of before."),
]


class CreateSubscription(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    name: Slug
    filter: Filter = Filter()
    start: Start = "latest"
    dedup_window_s: Window = 0
    delivery: Literal["pull", "webhook"] = "pull"


class ChangeSubscription(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What was published before keeps to what was in force then."""

    filter: Filter | UnsetType = UNSET
    dedup_window_s: Window | UnsetType = UNSET


class Subscription(msgspec.Struct, kw_only=True):
    """`holds`: the slug of the queue that holds its copies, which takes what other queues take but
    publishes. `state` is `filling` while messages of before its time are copied, `backfilled` how many were.
    `oldest_age_s`: how far it is behind."""

    id: str
    scope_id: str
    queue_id: str
    queue: str
    name: str
    holds: str
    filter: Filter
    start: str
    delivery: str
    dedup_window_s: int
    state: str
    backfilled: int
    depth_pending: int
    depth_claimed: int
    depth_scheduled: int
    oldest_age_s: float | None
    version: int
    created_at: str
    updated_at: str


class DedupAnswer(msgspec.Struct, kw_only=True):
    """Whether the subscription has had a message with the key within its window; `state`: what has become of
    its copy."""

    key: str
    seen: bool
    message_id: str | None = None
    state: str | None = None
    expires_at: str | None = None


_create = msgspec.json.Decoder(CreateSubscription)
_change = msgspec.json.Decoder(ChangeSubscription)
_claim = msgspec.json.Decoder(Claim)


async def _found(call: Call) -> tuple[ScopeEntry, QueueRow, SubscriptionRow]:
    scope, queue = await call.fresh_queue()
    return scope, queue, await call.services.subscriptions.find(queue, call.path("subscription"))


async def _views(
    call: Call, scope: ScopeEntry, queue: QueueRow, found: Sequence[SubscriptionRow]
) -> list[Subscription]:
    ordering = queue.parsed.ordering
    depths = await call.services.depths([(scope.keys.queue(row.slug), ordering) for row in found])
    return [
        Subscription(
            id=row.id,
            scope_id=row.scope_id,
            queue_id=queue.id,
            queue=row.queue,
            name=row.name,
            holds=row.slug,
            filter=decode_filter(row.filter),
            start=row.start,
            delivery=row.delivery,
            dedup_window_s=row.dedup_window_s,
            state=row.state,
            backfilled=row.filled,
            depth_pending=depth.pending,
            depth_claimed=depth.claimed,
            depth_scheduled=depth.scheduled,
            oldest_age_s=depth.oldest_age_s,
            version=row.version,
            created_at=moments.text(row.created_at),
            updated_at=moments.text(row.updated_at),
        )
        for row, depth in zip(found, depths, strict=True)
    ]


async def _show(
    call: Call, scope: ScopeEntry, queue: QueueRow, row: SubscriptionRow, status: int = 200
) -> Rendered:
    (shown,) = await _views(call, scope, queue, [row])
    return call.one(shown, status)


@subscriptions(
    f"POST {_OF_QUEUE}",
    "Subscribe to a broadcast queue",
    body=CreateSubscription,
    answer=Subscription,
    status=201,
    errors=(Code.SLUG_CONFLICT,),
)
async def create_subscription(call: Call) -> Rendered:
    """It gets a copy of everything that is published from then on and passes its filter. A queue has at most
    200."""
    scope, queue = await call.fresh_queue()
    body = await call.body(_create)
    if body.delivery != "pull":
        raise invalid(Detail("delivery", "Only pull: copies are claimed"))
    asked = Asked(
        name=body.name,
        filter=body.filter,
        start=body.start,
        delivery=body.delivery,
        dedup_window_s=body.dedup_window_s,
    )
    row = await call.services.subscriptions.create(scope, queue, asked)
    return await _show(call, scope, queue, row, 201)


@subscriptions(
    f"GET {_OF_QUEUE}", "List a queue's subscriptions with their depths", answer=Subscription, many=True
)
async def list_subscriptions(call: Call) -> Rendered:
    """All of them, in the order of their creation: there are at most 200."""
    scope, queue = await call.fresh_queue()
    found = await rows.roster(call.services.engine, scope.id, queue.slug)
    return call.many(await _views(call, scope, queue, found.subscriptions))


@subscriptions(f"GET {_ONE}", "Get a subscription with its depths", answer=Subscription)
async def get_subscription(call: Call) -> Rendered:
    return await _show(call, *await _found(call))


@subscriptions(
    f"PATCH {_ONE}",
    "Change a subscription",
    body=ChangeSubscription,
    answer=Subscription,
)
async def change_subscription(call: Call) -> Rendered:
    scope, queue, row = await _found(call)
    body = await call.body(_change)
    chosen = decode_filter(row.filter) if body.filter is UNSET else body.filter
    window = row.dedup_window_s if body.dedup_window_s is UNSET else body.dedup_window_s
    changed = await call.services.subscriptions.change(scope, queue, row, chosen, window)
    return await _show(call, scope, queue, changed)


@subscriptions(
    f"DELETE {_ONE}",
    "Delete a subscription with its copies",
    answer=Deleted,
    query=Deletion,
    errors=(Code.SCAIQUEUE_NOT_EMPTY,),
)
async def delete_subscription(call: Call) -> Rendered:
    """Refused while copies are live, unless forced. Those in the dead letter stay."""
    scope, _, row = await _found(call)
    force = call.query(Deletion).force
    await call.services.subscriptions.remove(call.principal.key_id, scope, row, force=force)
    return call.one(Deleted(row.id))


@subscriptions(
    f"POST {_ONE}/claim",
    "Claim the next copies of a subscription",
    hot=True,
    body=Claim,
    body_optional=True,
    answer=ClaimedMessage,
    many=True,
    errors=CLAIM_ERRORS,
)
async def claim_copies(call: Call) -> Rendered:
    """As the claim of a queue. Complete, fail, release and extend name the copy by its own id."""
    queue = await call.queue()
    held = await call.services.directory.subscription(queue, call.path("subscription"))
    asked = await call.body(_claim, optional=True)
    return call.many(await take(call, queue.scope, (held,), asked, "ordered"))


@subscriptions(
    f"GET {_ONE}/dedup/{{idempotency_key}}",
    "Ask whether a subscription has had a message with an idempotency key",
    answer=DedupAnswer,
)
async def check_dedup(call: Call) -> Rendered:
    """Within its `dedup_window_s`, counted from the copy that it got."""
    scope, _, row = await _found(call)
    key = call.path("idempotency_key")
    seen = await call.services.subscriptions.seen(scope, row, key)
    if seen is None:
        return call.one(DedupAnswer(key=key, seen=False))
    try:
        state = State((await call.services.reader.record(scope, seen.message_id)).state).name
    except QueueError:
        state = None
    ends = moments.text(seen.expires_at)
    return call.one(DedupAnswer(key=key, seen=True, message_id=seen.message_id, state=state, expires_at=ends))
