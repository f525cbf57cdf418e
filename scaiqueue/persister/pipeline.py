"""Commands with many arguments in one round trip, packed in C: the client's own packing of a thousand ids
costs more than making rows of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hiredis import pack_command
from redis.asyncio import Redis
from redis.exceptions import ResponseError

Command = tuple[Any, ...]


async def pipelined(redis: Redis, commands: Sequence[Command]) -> list[Any]:
    """The replies in order. A reply that is an error is raised once all are read."""
    replies = await replies_of(redis, commands)
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


async def replies_of(redis: Redis, commands: Sequence[Command]) -> list[Any]:
    """The replies in order, errors in their places."""
    if not commands:
        return []
    pool = redis.connection_pool
    connection: Any = await pool.get_connection()  # type: ignore[no-untyped-call]
    try:
        await connection.send_packed_command([pack_command(command) for command in commands])
        return [await _reply(connection) for _ in commands]
    except BaseException:
        # Replies may still be on their way: nobody may read them as theirs.
        await connection.disconnect(nowait=True)
        raise
    finally:
        await pool.release(connection)


async def _reply(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error
