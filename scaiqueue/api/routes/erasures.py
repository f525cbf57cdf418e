"""Erasure of what is known of a person."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from scaiqueue import moments
from scaiqueue.api.answers import Rendered
from scaiqueue.api.drafts import Labels
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.api.paging import Page, after, cursor_for, cut
from scaiqueue.api.validation import invalid
from scaiqueue.api.words import ShortText
from scaiqueue.erasure.subject import Scalar, Subject
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.rows import erasures as rows
from scaiqueue.rows.erasures import ErasureRow

erasures = Registry("Erasure")

MAX_PATHS, MAX_PATH = 16, 256


class Whom(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """All that is given must hold for a message; something must be given. `body`: values by their path in a
    JSON body, names joined by dots, a place in a list as its number."""

    source_id: ShortText | None = None
    correlation_id: ShortText | None = None
    labels: Labels = msgspec.field(default_factory=dict)
    body: Annotated[dict[str, Scalar], Meta(max_length=MAX_PATHS, examples=[{"customer.id": "42"}])] = (
        msgspec.field(default_factory=dict)
    )


class Erase(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Without `scope` in all of the tenant's. `erase` leaves a message's type and ends it, `redact` leaves
    its form and lets it go on. `dry_run` only counts."""

    subject: Whom
    scope: ShortText | None = None
    mode: Literal["erase", "redact"] = "erase"
    dry_run: bool = False


class Erasure(msgspec.Struct, kw_only=True):
    """`state` is running, completed or cancelled. `by`: which fields of a subject were given; what they were
    is forgotten. `counts`: messages `found`, those of them in the `index`, and rows by table."""

    id: str
    scope_id: str | None
    mode: str
    dry_run: bool
    by: list[str]
    state: str
    counts: dict[str, int]
    cancel_requested: bool
    created_at: str
    updated_at: str


_erase = msgspec.json.Decoder(Erase)


def view(row: ErasureRow) -> Erasure:
    return Erasure(
        id=row.id,
        scope_id=row.scope_id or None,
        mode=row.mode,
        dry_run=row.dry_run,
        by=msgspec.json.decode(row.kinds),
        state=row.state,
        counts=msgspec.json.decode(row.counts),
        cancel_requested=row.cancel_requested,
        created_at=moments.text(row.created_at),
        updated_at=moments.text(row.updated_at),
    )


def _subject(asked: Whom) -> Subject:
    wrong = [
        Detail(
            f"subject.body.{path}"[:MAX_PATH], f"A path: names joined by dots, at most {MAX_PATH} characters"
        )
        for path in asked.body
        if not all(path.split(".")) or len(path) > MAX_PATH
    ]
    subject = Subject(
        source_id=asked.source_id, correlation_id=asked.correlation_id, labels=asked.labels, body=asked.body
    )
    if not subject.kinds:
        wrong.append(Detail("subject", "Give source_id, correlation_id, labels or body"))
    if wrong:
        raise invalid(*wrong)
    return subject


async def _require(call: Call, scope_id: str) -> None:
    """The whole scope, with every queue of it."""
    call.scope_id = scope_id
    await call.services.access.require(call.principal, call.permission, scope_id)
    await call.every_queue(scope_id)


async def _found(call: Call) -> ErasureRow:
    row = await rows.find(call.services.engine, call.principal.tenant, call.path("erasure").lower())
    if row is None:
        raise QueueError(Code.SCAIQUEUE_ERASURE_NOT_FOUND)
    if row.scope_id:
        await _require(call, row.scope_id)
    else:
        call.principal.require_no_limit()
    return row


@erasures(
    "POST /gdpr/erasures",
    "Erase what messages of a person hold",
    body=Erase,
    answer=Erasure,
    status=202,
    errors=(Code.SCAIQUEUE_SCOPE_NOT_FOUND,),
)
async def erase(call: Call) -> Rendered:
    """A job with counts; a small one has ended when the answer comes. What is published after the call is not
    looked at. Not for keys that are limited to scopes or queues."""
    asked = await call.body(_erase)
    scope_id = ""
    if asked.scope is not None:
        scope_id = (await call.services.directory.scope(call.principal.tenant, asked.scope)).id
        await _require(call, scope_id)
    else:
        call.principal.require_no_limit()
    row = await call.services.eraser.begin(
        call.principal.tenant,
        scope_id,
        call.principal.key_id,
        _subject(asked.subject),
        redact=asked.mode == "redact",
        dry_run=asked.dry_run,
    )
    return call.one(view(row), 202)


@erasures(
    "GET /gdpr/erasures",
    "List the tenant's erasures in the order of their creation",
    answer=Erasure,
    many=True,
    query=Page,
)
async def list_erasures(call: Call) -> Rendered:
    """Not for a key that is limited."""
    call.principal.require_no_limit()
    page = call.query(Page)
    found = await rows.page(call.services.engine, call.principal.tenant, after(page.cursor), page.limit + 1)
    shown, more = cut(found, page.limit)
    return call.many([view(row) for row in shown], cursor_for(shown[-1].id) if more else None)


@erasures("GET /gdpr/erasures/{erasure}", "Get an erasure with its counts", answer=Erasure)
async def get_erasure(call: Call) -> Rendered:
    return call.one(view(await _found(call)))


@erasures("POST /gdpr/erasures/{erasure}/cancel", "Cancel an erasure; what it has done stays", answer=Erasure)
async def cancel_erasure(call: Call) -> Rendered:
    await rows.request_cancel(call.services.engine, (await _found(call)).id)
    return call.one(view(await _found(call)))
