"""Grants: permissions in one scope for keys that don't have them by themselves."""

from __future__ import annotations

import msgspec
from uuid_utils import uuid7

from scaiqueue import moments
from scaiqueue.access.gate import refused
from scaiqueue.access.policy import Reason
from scaiqueue.api.answers import Rendered
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.api.paging import Page, after, cursor_for, cut
from scaiqueue.api.principals import KeyPrincipal, Permissions, key_named
from scaiqueue.api.routes.removing import Deleted
from scaiqueue.api.validation import invalid
from scaiqueue.api.words import Moment
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.queueing.directory import ScopeEntry
from scaiqueue.rows import access as rows
from scaiqueue.rows.access import GrantRow

MAX_GRANTS = 1000

grants = Registry("Access")


class CreateGrant(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The key may do in this scope what `permissions` say, beside what it may do by itself."""

    principal: KeyPrincipal
    permissions: Permissions
    expires_at: Moment | None = None


class Grant(msgspec.Struct, kw_only=True):
    id: str
    scope_id: str
    principal: KeyPrincipal
    permissions: list[str]
    created_by: str
    created_at: str
    expires_at: str | None


_create = msgspec.json.Decoder(CreateGrant)


def _view(row: GrantRow) -> Grant:
    return Grant(
        id=row.id,
        scope_id=row.scope_id,
        principal=KeyPrincipal(id=row.key_id),
        permissions=msgspec.json.decode(row.permissions),
        created_by=row.created_by,
        created_at=moments.text(row.created_at),
        expires_at=moments.optional_text(row.expires_at),
    )


async def _found(call: Call) -> GrantRow:
    scope = await call.scope()
    row = await rows.find_grant(call.services.engine, scope.id, call.path("grant").lower())
    if row is None:
        raise QueueError(Code.SCAIQUEUE_GRANT_NOT_FOUND)
    return row


async def _check(call: Call, scope: ScopeEntry, asked: CreateGrant) -> None:
    missing = set(asked.permissions) - await call.services.access.granted(call.principal, scope.id)
    if missing:
        raise refused(Reason.permission, min(missing), scope.id)
    wrong: list[Detail] = []
    key = await key_named(call, asked.principal.id, "principal.id", wrong)
    if key is not None:
        limits = msgspec.json.decode(key.scopes, type=list[str])
        if limits and scope.id not in limits:
            wrong.append(Detail("principal.id", "The key is limited to other scopes"))
    if asked.expires_at is not None:
        ends = moments.milliseconds(asked.expires_at)
        if not moments.now_ms() < ends <= moments.LATEST_MS:
            wrong.append(Detail("expires_at", "Must be in the future, before 2101"))
    if wrong:
        raise invalid(*wrong)


@grants("POST /scopes/{scope}/grants", "Grant a key permissions", body=CreateGrant, answer=Grant, status=201)
async def create_grant(call: Call) -> Rendered:
    """In force when it answers. Only permissions that the calling key has in the scope can be granted."""
    scope = await call.scope()
    asked = await call.body(_create)
    await _check(call, scope, asked)
    row = GrantRow(
        id=str(uuid7()),
        tenant_id=scope.row.tenant_id,
        scope_id=scope.id,
        key_id=asked.principal.id,
        permissions=msgspec.json.encode(sorted(set(asked.permissions))).decode(),
        created_by=call.principal.key_id,
        created_at=moments.now_ms(),
        expires_at=0 if asked.expires_at is None else moments.milliseconds(asked.expires_at),
    )
    version = await rows.create_grant(call.services.engine, row, MAX_GRANTS)
    if version is None:
        raise invalid(Detail("grants", f"A scope has at most {MAX_GRANTS} grants"))
    await call.services.changed("access", str(version))
    return call.one(_view(row), 201)


@grants(
    "GET /scopes/{scope}/grants",
    "List grants in the order of their creation",
    answer=Grant,
    many=True,
    query=Page,
)
async def list_grants(call: Call) -> Rendered:
    """Expired ones too."""
    scope, page = await call.scope(), call.query(Page)
    found = await rows.grant_page(call.services.engine, scope.id, after(page.cursor), page.limit + 1)
    listed, more = cut(found, page.limit)
    return call.many([_view(row) for row in listed], cursor_for(listed[-1].id) if more else None)


@grants("GET /scopes/{scope}/grants/{grant}", "Get a grant", answer=Grant)
async def get_grant(call: Call) -> Rendered:
    return call.one(_view(await _found(call)))


@grants(
    "DELETE /scopes/{scope}/grants/{grant}", "Take a grant back, at once in every process", answer=Deleted
)
async def delete_grant(call: Call) -> Rendered:
    row = await _found(call)
    version = await rows.remove_grant(call.services.engine, row.id)
    await call.services.changed("access", str(version))
    return call.one(Deleted(row.id))
