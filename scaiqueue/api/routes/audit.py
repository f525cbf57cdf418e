"""The audit: who called what."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from scaiqueue import moments
from scaiqueue.api.answers import Rendered
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.api.paging import Page, after, cursor_for
from scaiqueue.api.routes.reading import is_stale, queue_slug
from scaiqueue.api.validation import invalid
from scaiqueue.api.words import Moment, ShortText
from scaiqueue.audit.search import Found, Place, Search
from scaiqueue.errors import Detail
from scaiqueue.queueing.directory import ScopeEntry
from scaiqueue.rows import messages as rows

audit = Registry("Audit")

MAX_TRACED = 500


EventType = Annotated[
    str,
    Meta(
        pattern=r"^[a-z][a-z0-9_]{0,63}$(?!\n)",
        max_length=64,
        description="`operationId` of the call in this document.",
        examples=["publish"],
    ),
]
Outcome = Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9_]{0,63}$(?!\n)", max_length=64, examples=["OK"])]
KeyId = Annotated[
    str,
    Meta(pattern=r"^[0-9a-f-]{36}$(?!\n)", max_length=36, description="Id of the API key that called."),
]


class AuditFilters(Page, frozen=True, kw_only=True):
    """All that is given must hold. `correlation_id`: calls that touched a message that carries it."""

    event_type: EventType | None = None
    actor: KeyId | None = None
    outcome: Outcome | None = None
    queue: ShortText | None = None
    correlation_id: ShortText | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None


class TenantAuditFilters(Page, frozen=True, kw_only=True):
    """All that is given must hold."""

    event_type: EventType | None = None
    actor: KeyId | None = None
    outcome: Outcome | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None


class AuditActor(msgspec.Struct):
    type: str
    id: str


class AuditedCall(msgspec.Struct, kw_only=True):
    """One call. `actor` is null where no good key was shown; `outcome` is OK or the error's code; of a
    batch `refused_items` were refused; `calls` equal ones of strangers are one entry."""

    id: str
    event_type: str
    actor: AuditActor | None
    address: str | None
    request_id: str | None
    scope_id: str | None
    queue: str | None
    message_ids: list[str]
    status: int
    outcome: str
    refused_items: int
    calls: int
    at: str


def _view(found: Found) -> AuditedCall:
    entry = found.entry
    return AuditedCall(
        id=str(found.place),
        event_type=entry.event,
        actor=AuditActor("api_key", entry.actor) if entry.actor else None,
        address=entry.address or None,
        request_id=entry.request_id or None,
        scope_id=found.scope_id or None,
        queue=entry.queue or None,
        message_ids=entry.message_ids,
        status=entry.status,
        outcome=entry.outcome,
        refused_items=entry.refused,
        calls=entry.calls,
        at=moments.text(entry.at),
    )


def _bound(moment: Any) -> int | None:
    return None if moment is None else moments.milliseconds(moment)


def _place(cursor: str) -> Place | None:
    try:
        return Place.parse(text) if (text := after(cursor)) else None
    except ValueError:
        raise invalid(Detail("cursor", "Not a cursor that a list gave")) from None


async def _answer(call: Call, search: Search, page: Page, stale: bool = False) -> Rendered:
    await call.services.audit.settle()
    found, go_on = await search.page(call.services.engine, _place(page.cursor), page.limit)
    return call.many([_view(one) for one in found], cursor_for(str(go_on)) if go_on else None, stale)


async def _touching(call: Call, scope: ScopeEntry, correlation_id: str) -> tuple[list[str], int]:
    """Ids of the messages of a correlation id, and when the first of them was made."""
    found = await rows.of_correlation(call.services.engine, scope.id, correlation_id, MAX_TRACED)
    return [row.id for row in found], min((row.record.created_at for row in found), default=0)


@audit(
    "GET /scopes/{scope}/audit",
    "List the calls on a scope, newest first",
    answer=AuditedCall,
    many=True,
    query=AuditFilters,
)
async def list_scope_audit(call: Call) -> Rendered:
    """Refused calls too. A page may hold fewer than `limit`, or none, while `next_cursor` goes on: a rare
    call is looked for a bounded piece at a time. A key that is limited to queues sees the calls on those."""
    scope = await call.scope()
    asked = call.query(AuditFilters)
    slug = await queue_slug(call, scope, asked.queue)
    ids, since, stale = None, _bound(asked.created_after), False
    if asked.correlation_id is not None:
        stale = await is_stale(call, scope)
        ids, first = await _touching(call, scope, asked.correlation_id)
        # The clocks of Redis and of this process need not agree.
        since = max(since or 0, first - 60_000)
    search = Search(
        tenant_id=scope.row.tenant_id,
        scope_id=scope.id,
        event=asked.event_type,
        actor=asked.actor,
        outcome=asked.outcome,
        queues=await call.allowed_slugs(scope) if slug is None else [slug],
        message_ids=ids,
        since=since,
        until=_bound(asked.created_before),
    )
    return await _answer(call, search, asked, stale)


@audit(
    "GET /audit",
    "List the calls of the tenant, newest first",
    answer=AuditedCall,
    many=True,
    query=TenantAuditFilters,
)
async def list_tenant_audit(call: Call) -> Rendered:
    """In all of its scopes and in none, such as those on API keys. Not for a key that is limited."""
    call.principal.require_no_limit()
    asked = call.query(TenantAuditFilters)
    search = Search(
        tenant_id=call.principal.tenant,
        event=asked.event_type,
        actor=asked.actor,
        outcome=asked.outcome,
        since=_bound(asked.created_after),
        until=_bound(asked.created_before),
    )
    return await _answer(call, search, asked)
