"""Changes of scopes and queues, told as events: in the transaction that makes them, so neither is without the
other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from scaiqueue.moments import now_ms
from scaiqueue.rows.events import Addendum, add
from scaiqueue.rows.tables import scopes


def kind_of_change(before: str, values: Mapping[str, object]) -> str:
    """What a change is told as: of the state, or of anything else. `before` is the state that it was in."""
    state = values.get("state", before)
    if state == before:
        return "updated"
    if state == "active":
        return "unarchived" if before == "archived" else "resumed"
    return str(state)


def _about(row: Any, changed: Mapping[str, object]) -> dict[str, object]:
    return {
        "display_name": row.display_name,
        "state": row.state,
        "version": row.version,
        **({"changed": sorted(changed)} if changed else {}),
    }


async def tell_scope(
    conn: AsyncConnection, scope: Any, kind: str, changed: Mapping[str, object] | None = None
) -> None:
    """`scope` is its row as it is now, or was at its end."""
    payload = {"scope_id": scope.id, "scope": scope.slug, **_about(scope, changed or {})}
    await _tell(conn, scope.shard, scope.tenant_id, scope.id, "", f"scope.{kind}", payload)


async def tell_queue(
    conn: AsyncConnection, queue: Any, kind: str, changed: Mapping[str, object] | None = None
) -> None:
    """As `tell_scope`. A queue whose scope is gone has nobody to tell."""
    shard = (await conn.execute(select(scopes.c.shard).where(scopes.c.id == queue.scope_id))).scalar()
    if shard is not None:
        about = _about(queue, changed or {})
        payload = {"scope_id": queue.scope_id, "queue_id": queue.id, "queue": queue.slug, **about}
        await _tell(conn, shard, queue.tenant_id, queue.scope_id, queue.slug, f"queue.{kind}", payload)


async def _tell(
    conn: AsyncConnection,
    shard: int,
    tenant: str,
    scope_id: str,
    queue: str,
    event_type: str,
    payload: dict[str, object],
) -> None:
    detail = msgspec.json.encode({"event_type": event_type, "payload": payload}).decode()
    await add(conn, shard, [Addendum(tenant, scope_id, "configure", queue, now_ms(), "[]", detail)])
