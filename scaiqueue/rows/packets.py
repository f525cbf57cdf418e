"""Several statements of MariaDB in one round trip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from asyncmy.errors import Error
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

PACKET_CHARACTERS = 4 * 2**20


async def run(conn: AsyncConnection, statements: Iterable[str]) -> list[int]:
    """How many rows each statement found or wrote, in order. Raises SQLAlchemy's errors at the first that
    fails; the ones after it are not run."""
    raw: Any = (await conn.get_raw_connection()).driver_connection
    counts: list[int] = []
    try:
        for packet in _packets(statements):
            cursor = raw.cursor()
            await cursor.execute(";".join(packet))
            counts.append(cursor.rowcount)
            while await cursor.nextset():
                counts.append(cursor.rowcount)
    except BaseException as error:
        if not _of_server(error):
            # Replies may still be on their way: nobody may use the connection after this.
            await conn.invalidate()
        if not isinstance(error, Error):
            raise
        raise DBAPIError.instance(None, None, error, Error) from error
    return counts


def _of_server(error: BaseException) -> bool:
    """The server answered so; the driver's own errors are numbered from 2000 to 2999."""
    return isinstance(error, Error) and not 2000 <= int(error.args[0] or 2000) < 3000


def _packets(statements: Iterable[str]) -> Iterator[Sequence[str]]:
    packet: list[str] = []
    size = 0
    for statement in statements:
        if packet and size + len(statement) > PACKET_CHARACTERS:
            yield packet
            packet, size = [], 0
        packet.append(statement)
        size += len(statement)
    if packet:
        yield packet
