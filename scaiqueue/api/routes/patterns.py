"""Patterns of reviews: specs with `{{param}}` in their texts, by name and version."""

from __future__ import annotations

from typing import Any

import msgspec
from uuid_utils import uuid7

from scaiqueue import moments
from scaiqueue.api.answers import Rendered
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.api.paging import after, cursor_for, cut
from scaiqueue.api.routes.documents import DocumentPage, next_version, refuse_large, version_taken
from scaiqueue.api.validation import invalid
from scaiqueue.api.words import DocumentVersion, ShortText, Slug
from scaiqueue.errors import Code
from scaiqueue.queueing.header import MAX_HEADER
from scaiqueue.review.pattern import expand
from scaiqueue.review.spec import Spec, faults
from scaiqueue.review.template import parameters_of
from scaiqueue.rows import documents
from scaiqueue.rows.documents import DocumentRow, VersionTaken

patterns = Registry("Human review")


class CreatePattern(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Texts of `spec` may hold `{{param}}`, which a message that refers to the pattern gives a value."""

    name: Slug
    version: DocumentVersion | None = None
    spec: Spec


class Pattern(msgspec.Struct, kw_only=True):
    """One version; `parameters` are the names that its spec asks for."""

    id: str
    tenant_id: str
    scope_id: str
    name: str
    version: int
    spec: Spec
    parameters: list[str]
    created_by: str
    created_at: str


class Expand(msgspec.Struct, forbid_unknown_fields=True):
    """Values for every parameter of the pattern."""

    parameters: dict[ShortText, Any] = {}


_create = msgspec.json.Decoder(CreatePattern)
_expand = msgspec.json.Decoder(Expand)


def _view(row: DocumentRow) -> Pattern:
    return Pattern(
        id=row.id,
        tenant_id=row.tenant_id,
        scope_id=row.scope_id,
        name=row.name,
        version=row.version,
        spec=msgspec.json.decode(row.document, type=Spec),
        parameters=parameters_of(msgspec.json.decode(row.document)),
        created_by=row.created_by,
        created_at=moments.text(row.created_at),
    )


@patterns(
    "POST /scopes/{scope}/hitl-patterns",
    "Create a version of a pattern",
    body=CreatePattern,
    answer=Pattern,
    status=201,
    errors=(Code.SLUG_CONFLICT,),
)
async def create_pattern(call: Call) -> Rendered:
    """A version never changes."""
    scope = await call.scope()
    asked = await call.body(_create)
    if wrong := faults(asked.spec, "spec"):
        raise invalid(*wrong)
    engine = call.services.engine
    row = DocumentRow(
        id=str(uuid7()),
        tenant_id=scope.row.tenant_id,
        scope_id=scope.id,
        name=asked.name,
        version=asked.version or await next_version(documents.patterns, engine, scope.id, asked.name),
        document=refuse_large(asked.spec, MAX_HEADER, "spec"),
        created_by=call.principal.key_id,
        created_at=moments.now_ms(),
    )
    try:
        await documents.patterns.create(engine, row)
    except VersionTaken:
        raise version_taken(row) from None
    await call.services.changed("scope", scope.id)
    return call.one(_view(row), 201)


@patterns(
    "GET /scopes/{scope}/hitl-patterns",
    "List patterns in the order of their creation",
    answer=Pattern,
    many=True,
    query=DocumentPage,
)
async def list_patterns(call: Call) -> Rendered:
    scope = await call.scope()
    page = call.query(DocumentPage)
    found = await documents.patterns.page(
        call.services.engine, scope.id, page.name, after(page.cursor), page.limit + 1
    )
    shown, more = cut(found, page.limit)
    return call.many([_view(row) for row in shown], cursor_for(shown[-1].id) if more else None)


@patterns("GET /scopes/{scope}/hitl-patterns/{pattern}", "Get a pattern", answer=Pattern)
async def get_pattern(call: Call) -> Rendered:
    scope = await call.scope()
    return call.one(_view(await call.services.patterns.fresh(scope.id, call.path("pattern"))))


@patterns("DELETE /scopes/{scope}/hitl-patterns/{pattern}", "Delete one version of a pattern", answer=Pattern)
async def delete_pattern(call: Call) -> Rendered:
    """Messages that were published with it, and rules that ask for it, keep what it made."""
    scope = await call.scope()
    row = await call.services.patterns.fresh(scope.id, call.path("pattern"))
    await documents.patterns.remove(call.services.engine, row.id)
    await call.services.changed("scope", scope.id)
    return call.one(_view(row))


@patterns(
    "POST /scopes/{scope}/hitl-patterns/{pattern}/expand",
    "Preview the spec that a pattern makes",
    body=Expand,
    body_optional=True,
    answer=Spec,
)
async def expand_pattern(call: Call) -> Rendered:
    """As it would stand in the message's `hitl_spec`. Nothing is published."""
    scope = await call.scope()
    row = await call.services.patterns.fresh(scope.id, call.path("pattern"))
    asked = await call.body(_expand, optional=True)
    return call.one(expand(row, asked.parameters, ""))
