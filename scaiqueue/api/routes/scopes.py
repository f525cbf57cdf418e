"""Scopes: created with their system queues, paused, archived, deleted."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from scaiqueue import moments
from scaiqueue.api.answers import Rendered
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.api.paging import Page, after, cursor_for, cut
from scaiqueue.api.validation import invalid
from scaiqueue.api.words import Description, Name, Slug
from scaiqueue.errors import Code, Detail
from scaiqueue.rows import scopes as rows
from scaiqueue.rows.queues import Durability
from scaiqueue.rows.scopes import ScopeRow

scopes = Registry("Scopes")


class CreateScope(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`durability` is the default of the scope's queues; absent, the installation's holds. `shard` is for a
    scope of direct callers; absent, one that the setting `reserved_shards` does not reserve is chosen."""

    slug: Slug
    display_name: Name
    description: Description = ""
    durability: Durability | None = None
    shard: Annotated[int, Meta(ge=0, le=1023)] | None = None


class ChangeScope(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    display_name: Name | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    durability: Durability | UnsetType | None = UNSET


class Scope(msgspec.Struct, kw_only=True):
    """A namespace of queues. `version` rises with every change; direct callers find its keys by `shard`."""

    id: str
    tenant_id: str
    slug: str
    display_name: str
    description: str
    durability: Durability
    state: str
    shard: int
    version: int
    created_at: str
    updated_at: str


def view(row: ScopeRow, call: Call) -> Scope:
    return Scope(
        id=row.id,
        tenant_id=row.tenant_id,
        slug=row.slug,
        display_name=row.display_name,
        description=row.description,
        durability=row.durability or call.services.settings.durability,  # type: ignore[arg-type]
        state=row.state,
        shard=row.shard,
        version=row.version,
        created_at=moments.text(row.created_at),
        updated_at=moments.text(row.updated_at),
    )


_create = msgspec.json.Decoder(CreateScope)
_change = msgspec.json.Decoder(ChangeScope)


@scopes(
    "POST /scopes",
    "Create a scope and its five system queues",
    body=CreateScope,
    answer=Scope,
    status=201,
    errors=(Code.SLUG_CONFLICT,),
)
async def create_scope(call: Call) -> Rendered:
    asked = await call.body(_create)
    shards = call.services.settings.shards
    if asked.shard is not None and asked.shard >= shards:
        raise invalid(Detail("shard", f"Must be below {shards}, the number of shards"))
    row = await call.services.administration.create_scope(
        call.principal.tenant,
        slug=asked.slug,
        display_name=asked.display_name,
        description=asked.description,
        durability=asked.durability or "",
        shard=asked.shard,
    )
    call.scope_id = row.id
    return call.one(view(row, call), 201)


@scopes("GET /scopes", "List scopes in the order of their creation", answer=Scope, many=True, query=Page)
async def list_scopes(call: Call) -> Rendered:
    page = call.query(Page)
    found = await rows.page(
        call.services.engine, call.principal.tenant, after(page.cursor), page.limit + 1, call.principal.scopes
    )
    shown, more = cut(found, page.limit)
    return call.many([view(row, call) for row in shown], cursor_for(shown[-1].id) if more else None)


@scopes("GET /scopes/{scope}", "Get a scope", answer=Scope)
async def get_scope(call: Call) -> Rendered:
    return call.one(view(await call.fresh_scope(), call))


@scopes(
    "PATCH /scopes/{scope}",
    "Change a scope's name, description or durability",
    body=ChangeScope,
    answer=Scope,
)
async def change_scope(call: Call) -> Rendered:
    row = await call.fresh_scope()
    asked = await call.body(_change)
    changes = {
        name: value if value is not None else ""
        for name, value in msgspec.structs.asdict(asked).items()
        if value is not UNSET
    }
    changed = await call.services.administration.change_scope(row, changes)
    return call.one(view(changed, call))


async def _turn(call: Call, verb: str) -> Rendered:
    row = await call.fresh_scope()
    changed = await call.services.administration.turn_scope(row, verb)
    return call.one(view(changed, call))


@scopes(
    "POST /scopes/{scope}/pause",
    "Pause: no publish and no claim in any queue",
    answer=Scope,
    errors=(Code.SCAIQUEUE_INVALID_STATE,),
)
async def pause_scope(call: Call) -> Rendered:
    return await _turn(call, "pause")


@scopes(
    "POST /scopes/{scope}/resume",
    "Resume a paused scope",
    answer=Scope,
    errors=(Code.SCAIQUEUE_INVALID_STATE,),
)
async def resume_scope(call: Call) -> Rendered:
    return await _turn(call, "resume")


@scopes(
    "POST /scopes/{scope}/archive",
    "Archive: kept, but closed for publish and claim",
    answer=Scope,
    errors=(Code.SCAIQUEUE_INVALID_STATE,),
)
async def archive_scope(call: Call) -> Rendered:
    return await _turn(call, "archive")


@scopes(
    "POST /scopes/{scope}/unarchive",
    "Take a scope out of the archive",
    answer=Scope,
    errors=(Code.SCAIQUEUE_INVALID_STATE,),
)
async def unarchive_scope(call: Call) -> Rendered:
    return await _turn(call, "unarchive")
