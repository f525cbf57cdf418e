"""Copies for subscriptions: their rows have no body of their own, but that of the message they were made
of."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from scaiqueue.rows.tables import copies, message_archive, messages

IN_ONE_QUERY = 500


def _parts(ids: Collection[str]) -> Iterable[list[str]]:
    ordered = sorted(ids)
    return (ordered[at : at + IN_ONE_QUERY] for at in range(0, len(ordered), IN_ONE_QUERY))


async def parents(connection: AsyncConnection, ids: Collection[str]) -> dict[str, str]:
    """The message that each is a copy of; those that are none are left out."""
    found: dict[str, str] = {}
    for part in _parts(ids):
        query = select(copies.c.message_id, copies.c.parent_id).where(copies.c.message_id.in_(part))
        found.update((row[0], row[1]) for row in await connection.execute(query))
    return found


async def families(connection: AsyncConnection, ids: Collection[str]) -> list[list[str]]:
    """The messages, each once, together with those that have the same body: first what was published, then
    its copies."""
    of = await parents(connection, ids)
    found = {first: [first] for first in sorted({of.get(one, one) for one in ids})}
    for part in _parts(found):
        query = select(copies.c.parent_id, copies.c.message_id).where(copies.c.parent_id.in_(part))
        for parent, copy in await connection.execute(query.order_by(copies.c.message_id)):
            found[parent].append(copy)
    return list(found.values())


async def bodies(connection: AsyncConnection, ids: Collection[str]) -> dict[str, bytes]:
    """Of the messages, in the archive too."""
    found: dict[str, bytes] = {}
    for part in _parts(ids):
        for table in (messages, message_archive):
            query = select(table.c.id, table.c.body).where(table.c.id.in_(part))
            found.update((row[0], bytes(row[1])) for row in await connection.execute(query))
    return found


async def lengths(connection: AsyncConnection, ids: Collection[str]) -> dict[str, int]:
    """Of the bodies that the copies among the messages have."""
    of = await parents(connection, ids)
    found: dict[str, int] = {}
    for part in _parts(set(of.values())):
        for table in (messages, message_archive):
            query = select(table.c.id, func.length(table.c.body)).where(table.c.id.in_(part))
            found.update((row[0], row[1]) for row in await connection.execute(query))
    return {copy: found.get(parent, 0) for copy, parent in of.items()}


async def forget(connection: AsyncConnection, ids: Collection[str]) -> None:
    """Their rows are gone."""
    for part in _parts(ids):
        await connection.execute(delete(copies).where(copies.c.message_id.in_(part)))


async def leave_bodies(connection: AsyncConnection, ids: Collection[str]) -> None:
    """Before these rows go: copies elsewhere, such as in the dead letter, get the bodies as their own."""
    await forget(connection, ids)
    needed = select(copies.c.message_id, copies.c.parent_id).where(copies.c.parent_id.in_(ids))
    for copy, parent in (await connection.execute(needed)).all():
        held = await bodies(connection, [parent])
        for place in (messages, message_archive):
            await connection.execute(
                update(place).where(place.c.id == copy).values(body=held.get(parent, b""))
            )
        await forget(connection, [copy])
