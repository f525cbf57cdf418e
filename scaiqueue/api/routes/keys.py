"""API keys: shown once, limited, rotated with an overlap, revoked at once."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from uuid_utils import uuid7

from scaiqueue import moments
from scaiqueue.api.answers import Rendered
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.api.paging import Page, after, cursor_for, cut
from scaiqueue.api.principals import PermissionName
from scaiqueue.api.validation import invalid
from scaiqueue.api.words import Moment, Name, ShortText
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.queueing.key_ring import new_secret, secret_hash
from scaiqueue.rows import api_keys as rows
from scaiqueue.rows.api_keys import KeyRow

keys = Registry("API keys")

RateLimit = Annotated[int, Meta(ge=0, le=6_000_000, description="Calls a minute; 0: as the setting says.")]
RateBurst = Annotated[int, Meta(ge=0, le=6_000_000, description="So many of them at once; 0: all.")]
Names = Annotated[list[ShortText], Meta(max_length=64)]


class CreateKey(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`scopes` limits the key to scopes, `queues` to queues of the one scope named; ids or slugs. Without
    `permissions` it may do what grants give it."""

    name: Name
    permissions: Annotated[list[PermissionName], Meta(max_length=4)]
    scopes: Names = msgspec.field(default_factory=list)
    queues: Names = msgspec.field(default_factory=list)
    expires_at: Moment | None = None
    rate_limit: RateLimit = 0
    rate_burst: RateBurst = 0


class Rotate(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The old key stays good for `overlap_s`."""

    overlap_s: Annotated[float, Meta(ge=0, le=2_592_000)] = 3600


class Key(msgspec.Struct, kw_only=True):
    """`scopes` and `queues` are ids; empty is no limit."""

    id: str
    tenant_id: str
    name: str
    prefix: str
    permissions: list[str]
    scopes: list[str]
    queues: list[str]
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    rate_limit: int
    rate_burst: int


class NewKey(Key, kw_only=True):
    key: Annotated[str, Meta(description="Shown this once.", examples=["sgk_…"])]


def _fields(row: KeyRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "tenant_id": row.tenant_id,
        "name": row.name,
        "prefix": row.prefix,
        "permissions": msgspec.json.decode(row.permissions),
        "scopes": msgspec.json.decode(row.scopes),
        "queues": msgspec.json.decode(row.queues),
        "created_at": moments.text(row.created_at),
        "expires_at": moments.optional_text(row.expires_at),
        "revoked_at": moments.optional_text(row.revoked_at),
        "last_used_at": moments.optional_text(row.last_used_at),
        "rate_limit": row.rate_limit,
        "rate_burst": row.rate_burst,
    }


_create = msgspec.json.Decoder(CreateKey)
_rotate = msgspec.json.Decoder(Rotate)


def _json(values: list[str]) -> str:
    return msgspec.json.encode(values).decode()


async def _limits(call: Call, asked: CreateKey) -> tuple[list[str], list[str]]:
    """Ids of the scopes and queues named. Raises VALIDATION_ERROR for those that don't exist."""
    wrong: list[Detail] = []
    scopes, queues = [], []
    for place, name in enumerate(asked.scopes):
        try:
            scopes.append(await call.services.directory.scope(call.principal.tenant, name))
        except QueueError:
            wrong.append(Detail(f"scopes[{place}]", "No such scope"))
    if asked.queues and len(asked.scopes) != 1:
        wrong.append(Detail("queues", "Need exactly one scope"))
    elif not wrong:
        for place, name in enumerate(asked.queues):
            try:
                queue = await call.services.directory.queue(scopes[0], name)
            except QueueError:
                wrong.append(Detail(f"queues[{place}]", "No such queue in the scope"))
                continue
            if queue.owner_id != queue.id:
                wrong.append(Detail(f"queues[{place}]", "A subscription's: name its broadcast queue"))
            queues.append(queue.id)
    if wrong:
        raise invalid(*wrong)
    return [scope.id for scope in scopes], queues


async def _found(call: Call) -> KeyRow:
    row = await rows.find(call.services.engine, call.principal.tenant, call.path("key").lower())
    if row is None:
        raise QueueError(Code.SCAIQUEUE_KEY_NOT_FOUND)
    return row


@keys("POST /api-keys", "Create an API key", body=CreateKey, answer=NewKey, status=201)
async def create_key(call: Call) -> Rendered:
    """It can be given only permissions that the calling key has."""
    asked = await call.body(_create)
    missing = sorted(set(asked.permissions) - call.principal.permissions)
    if missing:
        raise QueueError(Code.AUTHZ_PERMISSION_DENIED, f"The calling key itself lacks {', '.join(missing)}.")
    scopes, queues = await _limits(call, asked)
    secret = new_secret()
    expires_at = 0 if asked.expires_at is None else moments.milliseconds(asked.expires_at)
    if asked.expires_at is not None and not moments.now_ms() < expires_at <= moments.LATEST_MS:
        raise invalid(Detail("expires_at", "Must be in the future, before 2101"))
    row = KeyRow(
        id=str(uuid7()),
        tenant_id=call.principal.tenant,
        name=asked.name,
        key_hash=secret_hash(secret),
        prefix=secret[:8],
        permissions=_json(sorted(set(asked.permissions))),
        scopes=_json(scopes),
        queues=_json(queues),
        created_at=moments.now_ms(),
        expires_at=expires_at,
        revoked_at=0,
        last_used_at=0,
        rate_limit=asked.rate_limit,
        rate_burst=asked.rate_burst,
    )
    await rows.create(call.services.engine, row)
    return call.one(NewKey(**_fields(row), key=secret), 201)


@keys("GET /api-keys", "List API keys in the order of their creation", answer=Key, many=True, query=Page)
async def list_keys(call: Call) -> Rendered:
    page = call.query(Page)
    found = await rows.page(call.services.engine, call.principal.tenant, after(page.cursor), page.limit + 1)
    shown, more = cut(found, page.limit)
    return call.many([Key(**_fields(row)) for row in shown], cursor_for(shown[-1].id) if more else None)


@keys("GET /api-keys/{key}", "Get an API key", answer=Key)
async def get_key(call: Call) -> Rendered:
    return call.one(Key(**_fields(await _found(call))))


@keys(
    "POST /api-keys/{key}/rotate",
    "Replace an API key",
    body=Rotate,
    body_optional=True,
    answer=NewKey,
    status=201,
    errors=(Code.SCAIQUEUE_INVALID_STATE,),
)
async def rotate_key(call: Call) -> Rendered:
    """The new key has the same name, permissions and limits."""
    row = await _found(call)
    asked = await call.body(_rotate, optional=True)
    now = moments.now_ms()
    if row.revoked_at or 0 < row.expires_at <= now:
        raise QueueError(Code.SCAIQUEUE_INVALID_STATE, "The key is revoked or expired: create another.")
    secret = new_secret()
    new = msgspec.structs.replace(
        row,
        id=str(uuid7()),
        key_hash=secret_hash(secret),
        prefix=secret[:8],
        created_at=now,
        last_used_at=0,
    )
    end = now + round(asked.overlap_s * 1000)
    await rows.rotate(call.services.engine, row.id, min(end, row.expires_at or end), new)
    await call.services.changed("key", row.id)
    return call.one(NewKey(**_fields(new), key=secret), 201)


@keys("POST /api-keys/{key}/revoke", "Revoke an API key, at once in every process", answer=Key)
async def revoke_key(call: Call) -> Rendered:
    row = await _found(call)
    await rows.revoke(call.services.engine, row.id)
    await call.services.changed("key", row.id)
    return call.one(Key(**_fields(await _found(call))))
