"""Webhooks: where a tenant's events are sent."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from uuid_utils import uuid7

from scaiqueue import moments
from scaiqueue.access.gate import refused
from scaiqueue.access.policy import Reason
from scaiqueue.api.answers import Rendered
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.api.listening import wrong_patterns
from scaiqueue.api.paging import Page, after, cursor_for, cut
from scaiqueue.api.validation import invalid
from scaiqueue.api.words import Description, ShortText
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.events.envelope import envelope
from scaiqueue.events.kinds import TEST
from scaiqueue.queueing.directory import QueueEntry, ScopeEntry
from scaiqueue.rows import webhook_deliveries as deliveries
from scaiqueue.rows import webhooks as rows
from scaiqueue.rows.webhook_deliveries import DELIVERED, FAILED, DeliveryRow
from scaiqueue.rows.webhooks import MOST, WebhookRow
from scaiqueue.webhooks.addresses import MAX_URL
from scaiqueue.webhooks.sender import Parcel
from scaiqueue.webhooks.signature import new_secret

webhooks = Registry("Webhooks")

Url = Annotated[str, Meta(min_length=1, max_length=MAX_URL, examples=["https://example.com/scaiqueue"])]
Secret = Annotated[
    str,
    Meta(min_length=16, max_length=128, pattern=r"^[\x21-\x7e]+$(?!\n)", description="Signs every delivery."),
]
Patterns = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=64)]],
    Meta(
        min_length=1,
        max_length=50,
        description="Types of events; `*` at the end of one, or alone, stands for all that begin so.",
        examples=[["scaiqueue.message.completed", "hitl.*"]],
    ),
]
MaxRetries = Annotated[int, Meta(ge=0, le=20, description="After the first attempt.")]


class CreateWebhook(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`secret` absent: one is made. `scope` and `queue`, by id or slug, limit what is sent; `queue` needs
    `scope`."""

    url: Url
    events: Patterns
    secret: Secret | None = None
    max_retries: MaxRetries = 5
    scope: ShortText | None = None
    queue: ShortText | None = None
    description: Description = ""


class ChangeWebhook(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`enabled` true: goes on where it stopped."""

    url: Url | msgspec.UnsetType = msgspec.UNSET
    events: Patterns | msgspec.UnsetType = msgspec.UNSET
    secret: Secret | msgspec.UnsetType = msgspec.UNSET
    max_retries: MaxRetries | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET


class Webhook(msgspec.Struct, kw_only=True):
    """`scope_id` and `queue` null: any. `failing_since`: nothing was taken since then. `disabled_reason`: why
    it was switched off, where nobody did."""

    id: str
    tenant_id: str
    url: str
    events: list[str]
    max_retries: int
    scope_id: str | None
    queue: str | None
    description: str
    enabled: bool
    disabled_reason: str | None
    failing_since: str | None
    created_at: str
    updated_at: str


class NewWebhook(Webhook, kw_only=True):
    secret: Annotated[str, Meta(description="Shown this once.", examples=["whsec_…"])]


class Tried(msgspec.Struct, kw_only=True):
    """What a test call met. `status_code` null: there was no answer."""

    delivery_id: str
    event_id: str
    delivered: bool
    status_code: int | None
    error: str | None
    duration_ms: int


_create = msgspec.json.Decoder(CreateWebhook)
_change = msgspec.json.Decoder(ChangeWebhook)


def _fields(row: WebhookRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "tenant_id": row.tenant_id,
        "url": row.url,
        "events": msgspec.json.decode(row.events),
        "max_retries": row.max_retries,
        "scope_id": row.scope_id or None,
        "queue": row.queue or None,
        "description": row.description,
        "enabled": row.enabled,
        "disabled_reason": row.disabled_reason or None,
        "failing_since": moments.optional_text(row.failing_since),
        "created_at": moments.text(row.created_at),
        "updated_at": moments.text(row.updated_at),
    }


def refuse_limited(call: Call) -> None:
    """A webhook belongs to the tenant; it would tell a limited key of what it may not see."""
    if call.principal.limited:
        raise refused(Reason.scope_limit, call.permission)


async def found_webhook(call: Call) -> WebhookRow:
    """The one that the path names."""
    refuse_limited(call)
    row = await rows.find(call.services.engine, call.principal.tenant, call.path("webhook").lower())
    if row is None:
        raise QueueError(Code.SCAIQUEUE_WEBHOOK_NOT_FOUND)
    return row


async def _check(call: Call, url: str | msgspec.UnsetType, events: list[str] | msgspec.UnsetType) -> None:
    wrong: list[Detail] = []
    if url is not msgspec.UNSET:
        complaint = await call.services.webhook_sender.addresses.complaint(url)
        wrong += [Detail("url", complaint)] if complaint else []
    if events is not msgspec.UNSET:
        wrong += [Detail("events", f"{pattern!r} is no type of event") for pattern in wrong_patterns(events)]
    if wrong:
        raise invalid(*wrong)


async def _where(call: Call, asked: CreateWebhook) -> tuple[ScopeEntry | None, QueueEntry | None]:
    """What a new webhook is limited to. Raises VALIDATION_ERROR."""
    if asked.scope is None:
        if asked.queue is not None:
            raise invalid(Detail("queue", "Needs a scope"))
        return None, None
    directory = call.services.directory
    try:
        scope = await directory.scope(call.principal.tenant, asked.scope)
    except QueueError:
        raise invalid(Detail("scope", "No such scope")) from None
    if asked.queue is None:
        return scope, None
    try:
        return scope, await directory.queue(scope, asked.queue)
    except QueueError:
        raise invalid(Detail("queue", "No such queue in the scope")) from None


@webhooks("POST /webhooks", "Create a webhook", body=CreateWebhook, answer=NewWebhook, status=201)
async def create_webhook(call: Call) -> Rendered:
    """It is told what is committed from now on. The URL must lead to a public address, now and whenever a
    delivery is made."""
    asked = await call.body(_create)
    scope, queue = await _where(call, asked)
    await _check(call, asked.url, asked.events)
    now = moments.now_ms()
    row = WebhookRow(
        id=str(uuid7()),
        tenant_id=call.principal.tenant,
        scope_id=scope.id if scope else "",
        queue=queue.slug if queue else "",
        url=asked.url,
        events=msgspec.json.encode(asked.events).decode(),
        secret=asked.secret or new_secret(),
        max_retries=asked.max_retries,
        description=asked.description,
        enabled=True,
        disabled_reason="",
        failing_since=0,
        created_at=now,
        updated_at=now,
    )
    if not await rows.create(call.services.engine, row, scope.row.shard if scope else None):
        raise invalid(Detail("url", f"The tenant has {MOST} webhooks already"))
    return call.one(NewWebhook(**_fields(row), secret=row.secret), 201)


@webhooks(
    "GET /webhooks", "List webhooks in the order of their creation", answer=Webhook, many=True, query=Page
)
async def list_webhooks(call: Call) -> Rendered:
    refuse_limited(call)
    page = call.query(Page)
    found = await rows.page(call.services.engine, call.principal.tenant, after(page.cursor), page.limit + 1)
    shown, more = cut(found, page.limit)
    return call.many([Webhook(**_fields(row)) for row in shown], cursor_for(shown[-1].id) if more else None)


@webhooks("GET /webhooks/{webhook}", "Get a webhook", answer=Webhook)
async def get_webhook(call: Call) -> Rendered:
    return call.one(Webhook(**_fields(await found_webhook(call))))


@webhooks("PATCH /webhooks/{webhook}", "Change a webhook", body=ChangeWebhook, answer=Webhook)
async def change_webhook(call: Call) -> Rendered:
    """Holds within about two seconds, for deliveries that wait too."""
    row = await found_webhook(call)
    asked = await call.body(_change)
    await _check(call, asked.url, asked.events)
    changes: dict[str, Any] = {
        name: value for name, value in msgspec.structs.asdict(asked).items() if value is not msgspec.UNSET
    }
    if "events" in changes:
        changes["events"] = msgspec.json.encode(asked.events).decode()
    if changes.get("enabled"):
        changes |= {"disabled_reason": "", "failing_since": 0}
    await rows.change(call.services.engine, row.id, **changes)
    return call.one(Webhook(**_fields(await found_webhook(call))))


@webhooks("DELETE /webhooks/{webhook}", "Delete a webhook and its deliveries", answer=Webhook)
async def delete_webhook(call: Call) -> Rendered:
    row = await found_webhook(call)
    await rows.remove(call.services.engine, row.id)
    return call.one(Webhook(**_fields(row)))


@webhooks("POST /webhooks/{webhook}/test", "Send a webhook an event of the type `webhook.test`", answer=Tried)
async def try_webhook(call: Call) -> Rendered:
    """Once, now, also where it is switched off. Answers what the receiver answered."""
    row = await found_webhook(call)
    now, delivery_id, event_id = moments.now_ms(), str(uuid7()), str(uuid7())
    body = envelope(TEST, event_id, row.tenant_id, {"webhook_id": row.id}, now)
    answer = await call.services.webhook_sender.send(
        Parcel(row.url, row.secret, delivery_id, event_id, TEST, 1, body)
    )
    made = DeliveryRow(
        id=delivery_id,
        webhook_id=row.id,
        tenant_id=row.tenant_id,
        scope_id=row.scope_id,
        event_id=event_id,
        event_type=TEST,
        subject=row.id,
        shard=0,
        epoch=0,
        n=-1,
        place=0,
        part=0,
        state=FAILED if answer.error else DELIVERED,
        attempts=1,
        next_at=0,
        status_code=answer.status,
        error=answer.error,
        duration_ms=answer.duration_ms,
        replay_of="",
        created_at=now,
        updated_at=moments.now_ms(),
    )
    async with call.services.engine.begin() as conn:
        await deliveries.add(conn, [made])
    return call.one(
        Tried(
            delivery_id=delivery_id,
            event_id=event_id,
            delivered=not answer.error,
            status_code=answer.status or None,
            error=answer.error or None,
            duration_ms=answer.duration_ms,
        )
    )
