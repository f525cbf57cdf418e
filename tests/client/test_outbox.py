"""An outbox in the user's own transaction, on SQLite and MariaDB."""

from __future__ import annotations

import msgspec
import pytest
from sqlalchemy import MetaData, func, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from scaiqueue.client import Backoff, Client, Draft, Unreachable
from scaiqueue.client.memory import MemoryQueue
from scaiqueue.client.outbox import Outbox, Relay
from tests.client.test_exchange import Lossy


class Order(msgspec.Struct):
    number: int


async def opened(url: str) -> tuple[AsyncEngine, Outbox]:
    metadata = MetaData()
    outbox = Outbox(metadata)
    engine = create_async_engine(url)
    async with engine.begin() as conn:
        await conn.run_sync(metadata.create_all)
    return engine, outbox


async def left(engine: AsyncEngine, outbox: Outbox) -> int:
    async with engine.connect() as conn:
        return int((await conn.execute(select(func.count()).select_from(outbox.table))).scalar_one())


async def test_what_is_committed_is_published_once(database_url: str) -> None:
    engine, outbox = await opened(database_url)
    client = Client(scope="s", transport=Lossy(0), backoff=Backoff(attempts=1))
    relay = Relay(outbox, engine, client)
    async with AsyncSession(engine) as session, session.begin():
        await session.execute(outbox.publish("q", "order", Order(1), labels={"a": "b"}))
        await session.execute(outbox.put("q", Draft("order", Order(2)), Draft("order", {"number": 3})))
    async with AsyncSession(engine) as session:
        await session.execute(outbox.publish("q", "order", Order(9)))
        await session.rollback()
    # The answer to the first relaying is lost: the rows stay, and are published again under their keys.
    with pytest.raises(Unreachable):
        await relay.once()
    assert await left(engine, outbox) == 3
    assert await relay.once() == 3
    assert await relay.once() == 0
    messages = await client.claim("q", 10)
    assert [message.into(Order).number for message in messages] == [1, 2, 3]
    assert messages[0].labels == {"a": "b"}
    assert await left(engine, outbox) == 0
    await engine.dispose()


async def test_what_is_refused_for_good_holds_up_nobody(sqlite_url: str) -> None:
    engine, outbox = await opened(sqlite_url)
    client = Client(scope="s", transport=MemoryQueue({"s": ["q", "r"]}))
    async with engine.begin() as conn:

        def write(connection: object) -> None:
            with Session(bind=connection) as session:  # type: ignore[call-overload]
                session.execute(outbox.put("q", Draft("", 1), Draft("t", 2)))
                session.execute(outbox.publish("r", "t", 3))
                session.execute(outbox.publish("q", "t", 4))

        await conn.run_sync(write)
    relay = Relay(outbox, engine, client)
    assert await relay.once() == 4
    assert [message.json() for message in await client.claim("q", 10)] == [2, 4]
    assert [message.json() for message in await client.claim("r", 10)] == [3]
    async with engine.connect() as conn:
        (row,) = (await conn.execute(select(outbox.table.c.refused))).all()
    assert row.refused.startswith("VALIDATION_ERROR")
    assert await relay.once() == 0
    await engine.dispose()
