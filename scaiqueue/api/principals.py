"""Whom grants and ACLs name: a key of the tenant, or everyone."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from scaiqueue.access.policy import EVERYONE
from scaiqueue.api.endpoint import Call
from scaiqueue.api.permissions import ALL_PERMISSIONS
from scaiqueue.api.words import Uuid
from scaiqueue.errors import Detail
from scaiqueue.rows import api_keys
from scaiqueue.rows.api_keys import KeyRow

PermissionName = Annotated[
    str, Meta(pattern=f"^({'|'.join(ALL_PERMISSIONS)})$(?!\\n)", examples=["scaiqueue:publish"])
]
Permissions = Annotated[list[PermissionName], Meta(min_length=1, max_length=4)]


class KeyPrincipal(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An API key by its id, as `claimed_by` names it."""

    id: Uuid
    type: Literal["api_key"] = "api_key"


class AnyPrincipal(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An API key by its id; or `everyone`, without one."""

    type: Literal["api_key", "everyone"] = "api_key"
    id: Uuid | None = None


async def key_named(call: Call, key_id: str, place: str, wrong: list[Detail]) -> KeyRow | None:
    """The tenant's key; what is wrong with it gathers in `wrong`."""
    row = await api_keys.find(call.services.engine, call.principal.tenant, key_id)
    if row is None or row.revoked_at:
        wrong.append(Detail(place, "No such API key, or revoked"))
        return None
    return row


async def named(call: Call, principal: AnyPrincipal, place: str, wrong: list[Detail]) -> str:
    """As policies keep it."""
    if principal.type == "everyone":
        if principal.id is not None:
            wrong.append(Detail(f"{place}.id", "Everyone has none"))
        return EVERYONE
    if principal.id is None:
        wrong.append(Detail(f"{place}.id", "Required for an api_key"))
        return ""
    await key_named(call, principal.id, f"{place}.id", wrong)
    return principal.id


def shown(principal: str) -> AnyPrincipal:
    """The inverse."""
    if principal == EVERYONE:
        return AnyPrincipal(type="everyone")
    return AnyPrincipal(type="api_key", id=principal)
