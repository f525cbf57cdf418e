"""Trusts: which scopes may send messages into this one by their routing rules."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta
from uuid_utils import uuid7

from scaiqueue import moments
from scaiqueue.api.answers import Rendered
from scaiqueue.api.drafts import Labels
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.api.paging import Page, after, cursor_for, cut
from scaiqueue.api.validation import invalid
from scaiqueue.api.words import ShortText
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.keys import SYSTEM_QUEUES
from scaiqueue.queueing.configure import keys_of
from scaiqueue.queueing.directory import ScopeEntry
from scaiqueue.rows import access as rows
from scaiqueue.rows import scopes
from scaiqueue.rows.access import TrustRow
from scaiqueue.transfers.terms import Terms, decode_terms, encode_terms

MAX_TRUSTS = 100

trusts = Registry("Access")


class TrustFilter(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A message passes that has one of the types, and all of the labels."""

    types: Annotated[list[ShortText], Meta(max_length=64)] = msgspec.field(default_factory=list)
    labels: Labels = {}


class CreateTrust(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Rules of the scope `from` may send messages into this scope, into the queues of `allow` (none: into
    all), if they pass the `filter`. `to`, where it is given, is this scope."""

    from_: ShortText = msgspec.field(name="from")
    to: ShortText | None = None
    allow: Annotated[list[ShortText], Meta(max_length=64)] = msgspec.field(default_factory=list)
    filter: TrustFilter = msgspec.field(default_factory=TrustFilter)


class Trust(msgspec.Struct, kw_only=True):
    """`from` and `to` are ids of scopes, `allow` ids of queues."""

    id: str
    from_: str = msgspec.field(name="from")
    to: str
    allow: list[str]
    filter: TrustFilter
    created_by: str
    created_at: str


class TrustEnded(msgspec.Struct):
    """`rules_disabled`: names of rules of the other scope that could not send here any more."""

    id: str
    rules_disabled: list[str]
    deleted: bool = True


_create = msgspec.json.Decoder(CreateTrust)


def _view(row: TrustRow) -> Trust:
    terms = decode_terms(row.terms)
    return Trust(
        id=row.id,
        from_=row.from_scope,
        to=row.to_scope,
        allow=[*terms.queues],
        filter=TrustFilter(types=[*terms.types], labels={**terms.labels}),
        created_by=row.created_by,
        created_at=moments.text(row.created_at),
    )


async def _found(call: Call) -> tuple[ScopeEntry, TrustRow]:
    scope = await call.scope()
    row = await rows.find_trust(call.services.engine, scope.id, call.path("trust").lower())
    if row is None:
        raise QueueError(Code.SCAIQUEUE_TRUST_NOT_FOUND)
    return scope, row


async def _queue_ids(call: Call, scope: ScopeEntry, names: list[str], wrong: list[Detail]) -> tuple[str, ...]:
    found = []
    for place, name in enumerate(names):
        try:
            queue = await call.services.directory.queue(scope, name)
        except QueueError:
            wrong.append(Detail(f"allow[{place}]", "No such queue in this scope"))
            continue
        if queue.slug in SYSTEM_QUEUES:
            wrong.append(Detail(f"allow[{place}]", "System queues can't be targets"))
        elif queue.settings.consumer_mode == "broadcast" or queue.owner_id != queue.id:
            wrong.append(
                Detail(f"allow[{place}]", "A broadcast queue and its subscriptions can't be targets")
            )
        found.append(queue.id)
    return tuple(dict.fromkeys(found))


@trusts("POST /scopes/{scope}/trusts", "Trust another scope", body=CreateTrust, answer=Trust, status=201)
async def create_trust(call: Call) -> Rendered:
    """It is the receiving scope that trusts."""
    scope = await call.scope()
    asked = await call.body(_create)
    wrong: list[Detail] = []
    other = await scopes.find(call.services.engine, call.principal.tenant, asked.from_)
    if other is None:
        wrong.append(Detail("from", "No such scope"))
    elif other.id == scope.id:
        wrong.append(Detail("from", "A scope needs no trust of its own"))
    if asked.to not in (None, scope.id, scope.row.slug):
        wrong.append(Detail("to", "Must be this scope: the one that receives is asked"))
    queues = await _queue_ids(call, scope, asked.allow, wrong)
    if wrong or other is None:
        raise invalid(*wrong)
    terms = Terms(queues, tuple(asked.filter.types), asked.filter.labels)
    row = TrustRow(
        id=str(uuid7()),
        tenant_id=scope.row.tenant_id,
        from_scope=other.id,
        to_scope=scope.id,
        terms=encode_terms(terms).decode(),
        created_by=call.principal.key_id,
        created_at=moments.now_ms(),
    )
    if not await rows.create_trust(call.services.engine, row, MAX_TRUSTS):
        raise invalid(Detail("trusts", f"A scope gives at most {MAX_TRUSTS} trusts"))
    return call.one(_view(row), 201)


@trusts(
    "GET /scopes/{scope}/trusts",
    "List trusts that the scope gives or is given",
    answer=Trust,
    many=True,
    query=Page,
)
async def list_trusts(call: Call) -> Rendered:
    scope, page = await call.scope(), call.query(Page)
    found = await rows.trust_page(call.services.engine, scope.id, after(page.cursor), page.limit + 1)
    listed, more = cut(found, page.limit)
    return call.many([_view(row) for row in listed], cursor_for(listed[-1].id) if more else None)


@trusts("GET /scopes/{scope}/trusts/{trust}", "Get a trust", answer=Trust)
async def get_trust(call: Call) -> Rendered:
    _, row = await _found(call)
    return call.one(_view(row))


@trusts("DELETE /scopes/{scope}/trusts/{trust}", "Take a trust back", answer=TrustEnded)
async def delete_trust(call: Call) -> Rendered:
    """Rules that depend on it are disabled, and what is on its way is not let in any more. Either scope may
    end it."""
    _, row = await _found(call)
    await rows.remove_trust(call.services.engine, row.id)
    sender = await scopes.find(call.services.engine, row.tenant_id, row.from_scope)
    names = []
    if sender is not None:
        names = await call.services.rules.distrusted(sender, keys_of(sender), row.to_scope)
    return call.one(TrustEnded(row.id, names))
