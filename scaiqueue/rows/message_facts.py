"""What events tell of messages, read for many at once."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from scaiqueue.rows.tables import message_archive, messages

IN_ONE_QUERY = 500


class Facts(NamedTuple):
    """`response_size` in bytes, 0 for none."""

    message_type: str
    correlation_id: str | None
    response_size: int


class _Retyped(msgspec.Struct):
    type: str | None = None


_overlay = msgspec.json.Decoder(_Retyped).decode


async def facts(conn: AsyncConnection, ids: Collection[str]) -> dict[str, Facts]:
    """Of those that are still there, archived ones too."""
    found: dict[str, Facts] = {}
    # In this order a row that moves to the archive meanwhile is not missed.
    for table in (messages, message_archive):
        c = table.c
        left = sorted(set(ids) - found.keys())
        for start in range(0, len(left), IN_ONE_QUERY):
            columns = (c.id, c.message_type, c.overlay, c.correlation_id, func.length(c.response))
            query = select(*columns).where(c.id.in_(left[start : start + IN_ONE_QUERY]))
            for name, message_type, overlay, correlation_id, size in await conn.execute(query):
                retyped = _overlay(overlay).type if overlay else None
                found[name] = Facts(retyped or message_type, correlation_id or None, size or 0)
    return found


async def responses(conn: AsyncConnection, ids: Collection[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for table in (messages, message_archive):
        left = sorted(set(ids) - found.keys())
        if left:
            query = select(table.c.id, table.c.response).where(table.c.id.in_(left))
            found.update((row[0], bytes(row[1])) for row in await conn.execute(query))
    return found
