"""Looks for a text in every table of a database and every key of a Redis."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from sqlalchemy import Connection, MetaData, select
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.rows.engine import reading


async def traces(redis: Redis, engine: AsyncEngine, text: str) -> list[str]:
    """Where it stands: tables with column, and keys."""
    return [*await _in_rows(engine, text), *await _in_keys(redis, text)]


async def _in_rows(engine: AsyncEngine, text: str) -> list[str]:
    found = set()
    async with reading(engine) as conn:
        # As the database has them, not as the code knows them.
        for table in (await conn.run_sync(_tables)).tables.values():
            for row in (await conn.execute(select(table))).mappings():
                for column, value in row.items():
                    if text.encode() in _bytes(value):
                        found.add(f"{table.name}.{column}")
    return sorted(found)


def _tables(conn: Connection) -> MetaData:
    known = MetaData()
    known.reflect(conn)
    return known


def _bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else str(value).encode()


async def _in_keys(redis: Redis, text: str) -> list[str]:
    found = []
    async for key in redis.scan_iter(count=1000):
        held = (key, await _held(redis, key))
        if text.encode() in repr(held).encode():
            found.append(key.decode())
    return sorted(found)


async def _held(redis: Redis, key: bytes) -> Any:
    """Everything under a key; of a kind that is not known here nothing would be seen, so that fails."""
    kind = (await redis.type(key)).decode()
    match kind:
        case "string":
            return await redis.get(key)
        case "hash":
            return await redis.hgetall(key)
        case "zset":
            return await redis.zrange(key, 0, -1)
        case "set":
            return await redis.smembers(key)
        case "list":
            return await redis.lrange(key, 0, -1)
        case "stream":
            return await redis.xrange(key)
        case "none":
            return None
    raise AssertionError(f"{key!r} is a {kind}")
