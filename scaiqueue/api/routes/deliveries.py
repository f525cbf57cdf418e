"""Deliveries of a webhook: what was sent, what came of it, and sending it again."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec.structs import replace
from uuid_utils import uuid7

from scaiqueue import moments
from scaiqueue.api.answers import Rendered
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.api.paging import Page, after, cursor_for, cut
from scaiqueue.api.routes.webhooks import found_webhook
from scaiqueue.api.words import Uuid
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.events.kinds import TEST
from scaiqueue.rows import webhook_deliveries as rows
from scaiqueue.rows.webhook_deliveries import PENDING, DeliveryRow
from scaiqueue.rows.webhooks import WebhookRow

deliveries = Registry("Webhooks")


class DeliveryPage(Page, frozen=True, kw_only=True):
    state: Literal["pending", "delivered", "failed"] | None = None
    event_id: Uuid | None = None


class Delivery(msgspec.Struct, kw_only=True):
    """`subject` is the message, or else the scope, that the event is about. `status_code`, `error` and
    `duration_ms` are of the last attempt; `next_attempt_at` is set while it is pending and was tried."""

    id: str
    webhook_id: str
    event_id: str
    event_type: str
    scope_id: str | None
    subject: str
    state: str
    attempts: int
    next_attempt_at: str | None
    status_code: int | None
    error: str | None
    duration_ms: int | None
    replay_of: str | None
    created_at: str
    updated_at: str


def _view(row: DeliveryRow) -> Delivery:
    return Delivery(
        id=row.id,
        webhook_id=row.webhook_id,
        event_id=row.event_id,
        event_type=row.event_type,
        scope_id=row.scope_id or None,
        subject=row.subject,
        state=row.state,
        attempts=row.attempts,
        next_attempt_at=moments.optional_text(row.next_at) if row.state == PENDING else None,
        status_code=row.status_code or None,
        error=row.error or None,
        duration_ms=row.duration_ms if row.attempts else None,
        replay_of=row.replay_of or None,
        created_at=moments.text(row.created_at),
        updated_at=moments.text(row.updated_at),
    )


async def _found(call: Call) -> tuple[WebhookRow, DeliveryRow]:
    webhook = await found_webhook(call)
    row = await rows.find(call.services.engine, webhook.id, call.path("delivery").lower())
    if row is None:
        raise QueueError(Code.SCAIQUEUE_DELIVERY_NOT_FOUND)
    return webhook, row


@deliveries(
    "GET /webhooks/{webhook}/deliveries",
    "List deliveries of a webhook, newest first",
    answer=Delivery,
    many=True,
    query=DeliveryPage,
)
async def list_deliveries(call: Call) -> Rendered:
    webhook = await found_webhook(call)
    asked = call.query(DeliveryPage)
    before, engine = after(asked.cursor), call.services.engine
    found = await rows.page(engine, webhook.id, before, asked.limit + 1, asked.state, asked.event_id)
    shown, more = cut(found, asked.limit)
    return call.many([_view(row) for row in shown], cursor_for(shown[-1].id) if more else None)


@deliveries("GET /webhooks/{webhook}/deliveries/{delivery}", "Get a delivery", answer=Delivery)
async def get_delivery(call: Call) -> Rendered:
    _, row = await _found(call)
    return call.one(_view(row))


@deliveries(
    "POST /webhooks/{webhook}/deliveries/{delivery}/replay",
    "Deliver an event again",
    answer=Delivery,
    status=201,
    errors=(Code.SCAIQUEUE_INVALID_STATE, Code.SCAIQUEUE_EVENTS_GONE),
)
async def replay_delivery(call: Call) -> Rendered:
    """A new delivery of the same event, whatever came of the other; out of order with others of its
    message."""
    webhook, row = await _found(call)
    if row.event_type == TEST:
        raise QueueError(Code.SCAIQUEUE_INVALID_STATE, "A test is not replayed: test again.")
    if not webhook.enabled:
        details = (Detail("enabled", "false"),)
        raise QueueError(Code.SCAIQUEUE_INVALID_STATE, "The webhook is switched off.", details=details)
    if await call.services.feed.reader.one(row.shard, row.at) is None:
        raise QueueError(Code.SCAIQUEUE_EVENTS_GONE)
    now = moments.now_ms()
    again = replace(
        row,
        id=str(uuid7()),
        state=PENDING,
        attempts=0,
        next_at=0,
        status_code=0,
        error="",
        duration_ms=0,
        replay_of=row.id,
        created_at=now,
        updated_at=now,
    )
    async with call.services.engine.begin() as conn:
        await rows.add(conn, [again])
    return call.one(_view(again), 201)
