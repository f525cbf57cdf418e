"""`scaiqueue keys`: API keys, straight in the rows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from cyclopts import App, Parameter
from cyclopts.validators import Number
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils import uuid7

from scaiqueue.cli.output import CommandError, Json, print_json, print_table
from scaiqueue.embedded.data_folder import with_embedded
from scaiqueue.keys import is_slug
from scaiqueue.moments import now_ms, optional_text
from scaiqueue.queueing.key_ring import new_secret, secret_hash
from scaiqueue.rows import api_keys
from scaiqueue.rows import queues as queue_rows
from scaiqueue.rows import scopes as scope_rows
from scaiqueue.rows.api_keys import KeyRow
from scaiqueue.rows.engine import open_engine
from scaiqueue.settings import load_settings

T = TypeVar("T")
Permission = Literal[
    "view", "publish", "consume", "manage",
    "scaiqueue:view", "scaiqueue:publish", "scaiqueue:consume", "scaiqueue:manage",
]  # fmt: skip
ALL: tuple[Permission, ...] = ("view", "publish", "consume", "manage")
Names = Annotated[list[str] | None, Parameter(consume_multiple=True)]
Rate = Annotated[int, Parameter(validator=Number(gte=0, lte=6_000_000))]
_SHOWN = (
    "id", "name", "prefix", "permissions", "scopes", "queues", "rate_limit", "created_at", "expires_at",
    "revoked_at", "last_used_at",
)  # fmt: skip

app = App(name="keys", help="API keys.")


@app.command
def create(
    *,
    tenant: str = "default",
    permissions: Annotated[list[Permission] | None, Parameter(consume_multiple=True)] = None,
    name: str = "",
    expires_in_days: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    scopes: Names = None,
    queues: Names = None,
    rate_limit: Rate = 0,
    rate_burst: Rate = 0,
    json: Json = False,
) -> None:
    """Make a key and print it; it is never shown again.

    Parameters
    ----------
    tenant
        Whose key it is; a new one begins with it.
    permissions
        Any of view, publish, consume, manage (with scaiqueue: before them or not); all if left out.
    name
        For people.
    expires_in_days
        Never, if left out.
    scopes
        Slugs or ids of the only scopes that it is for.
    queues
        Slugs or ids of the only queues that it is for, of the one scope named.
    rate_limit
        Calls a minute; 0: as the setting says.
    rate_burst
        So many of them at once; 0: all.
    """
    if not is_slug(tenant):
        raise CommandError(f"--tenant: {tenant!r} must be lower-case letters, digits, - and _, at most 63")
    secret, now = new_secret(), now_ms()
    scope_ids, queue_ids = _run(lambda engine: _limits(engine, tenant, scopes or [], queues or []))
    row = KeyRow(
        id=str(uuid7()),
        tenant_id=tenant,
        name=name,
        key_hash=secret_hash(secret),
        prefix=secret[:8],
        permissions=msgspec.json.encode(
            [f"scaiqueue:{one.removeprefix('scaiqueue:')}" for one in permissions or ALL]
        ).decode(),
        scopes=msgspec.json.encode(scope_ids).decode(),
        queues=msgspec.json.encode(queue_ids).decode(),
        created_at=now,
        expires_at=now + expires_in_days * 86_400_000 if expires_in_days else 0,
        revoked_at=0,
        last_used_at=0,
        rate_limit=rate_limit,
        rate_burst=rate_burst,
    )
    _run(lambda engine: api_keys.create(engine, row))
    if json:
        print_json({"key": secret, **_shown(row)})
    else:
        print(secret)


async def _limits(
    engine: AsyncEngine, tenant: str, scopes: list[str], queues: list[str]
) -> tuple[list[str], list[str]]:
    """Ids of what the key is limited to."""
    if queues and len(scopes) != 1:
        raise CommandError("--queues: need exactly one --scopes")
    scope_ids, queue_ids = [], []
    for name in scopes:
        scope = await scope_rows.find(engine, tenant, name)
        if scope is None:
            raise CommandError(f"--scopes: tenant {tenant} has no scope {name!r}")
        scope_ids.append(scope.id)
    for name in queues:
        queue = await queue_rows.find(engine, scope_ids[0], name)
        if queue is None:
            raise CommandError(f"--queues: scope {scopes[0]} has no queue {name!r}")
        if queue.owner_id != queue.id:
            raise CommandError(f"--queues: {name} is a subscription's: name its broadcast queue")
        queue_ids.append(queue.id)
    return scope_ids, queue_ids


@app.command(name="list")
def list_(*, tenant: str = "default", json: Json = False) -> None:
    """The keys of a tenant, without the keys themselves."""
    rows = [_shown(row) for row in _run(lambda engine: api_keys.page(engine, tenant, "", 1000))]
    if json:
        print_json(rows)
    else:
        print_table(_SHOWN, [[row[name] for name in _SHOWN] for row in rows])


@app.command
def revoke(key_id: str, *, tenant: str = "default", json: Json = False) -> None:
    """Make a key useless, in every process within a second.

    Parameters
    ----------
    key_id
        As `scaiqueue keys list` gives it.
    tenant
        Whose key it is.
    """

    async def work(engine: AsyncEngine) -> bool:
        if await api_keys.find(engine, tenant, key_id) is None:
            return False
        await api_keys.revoke(engine, key_id)
        return True

    if not _run(work):
        raise CommandError(f"tenant {tenant} has no key {key_id}: `scaiqueue keys list` gives the ids")
    if json:
        print_json({"id": key_id, "revoked": True})
    else:
        print(f"{key_id} revoked")


def _shown(row: KeyRow) -> dict[str, Any]:
    found: dict[str, Any] = {name: getattr(row, name) for name in _SHOWN}
    for name in ("permissions", "scopes", "queues"):
        found[name] = msgspec.json.decode(found[name])
    for name in ("created_at", "expires_at", "revoked_at", "last_used_at"):
        found[name] = optional_text(found[name])
    return found


def _run(work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    async def run() -> T:
        engine = open_engine(with_embedded(load_settings()).database_url, pool_size=1)
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    try:
        return asyncio.run(run())
    except (SQLAlchemyError, OSError) as error:
        cause = getattr(error, "orig", None) or error
        raise CommandError(f"{cause}: is the row store up, and `scaiqueue migrate up` done?") from error
