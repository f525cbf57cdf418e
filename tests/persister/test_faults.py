"""Refused rows go into quarantine and the rest goes on; a row store that is away only delays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import delete, text, update

from scaiqueue.persister.service import Persister
from scaiqueue.persister.shard import Lost, ShardJournal, load_position
from scaiqueue.persister.transaction import Writer
from scaiqueue.records import State, Version
from scaiqueue.rows import tables
from scaiqueue.rows.engine import is_sqlite
from scaiqueue.scripts.replies import NotReadyError
from tests.eventually import eventually
from tests.servers import MariaDbServer
from tests.stack import Stack, open_stack


@pytest.fixture
def own_mariadb() -> Iterator[MariaDbServer]:
    with MariaDbServer() as server:
        yield server


async def refuse(stack: Stack, correlation_id: str) -> None:
    """The database refuses message rows of this correlation id from now on."""
    name = tables.messages.name
    statement = (
        f"CREATE TRIGGER refuses BEFORE INSERT ON {name} WHEN NEW.correlation_id = '{correlation_id}' "
        "BEGIN SELECT RAISE(ABORT, 'refused'); END"
        if is_sqlite(stack.engine)
        else f"ALTER TABLE {name} ADD CONSTRAINT refuses CHECK (correlation_id <> '{correlation_id}')"
    )
    async with stack.engine.begin() as conn:
        await conn.execute(text(statement))


async def test_a_row_that_is_refused_goes_into_quarantine(redis: Redis, database_url: str) -> None:
    async with open_stack(redis, database_url) as stack:
        before, _ = await stack.publish(20)
        await refuse(stack, "unlucky")
        (bad,), _ = await stack.publish(correlation_id="unlucky")
        after, entry = await stack.publish(20)
        persister = stack.persister()
        await persister.start()
        assert await persister.watermarks.wait(1, entry, 20.0)
        assert set(await stack.rows()) == {*before, *after}
        (kept,) = await stack.all_of("quarantine")
        assert (kept["message_id"], kept["scope_id"]) == (bad, stack.scope_id)
        assert kept["envelope"] == await stack.redis.hget(stack.scope.key("body"), bad)
        assert kept["error"]
        end = await stack.complete(await stack.claim(41))
        assert await persister.watermarks.wait(1, end, 20.0)
        assert {row["state"] for row in (await stack.rows()).values()} == {State.completed}
        await persister.stop()
        assert await stack.redis.hlen(stack.scope.key("state")) == 0


async def test_the_journal_waits_while_the_row_store_is_away(
    redis: Redis, own_mariadb: MariaDbServer
) -> None:
    async with open_stack(redis, own_mariadb.create_database("away")) as stack:
        persister = stack.persister()
        await persister.start()
        first, entry = await stack.publish(5)
        assert await persister.watermarks.wait(1, entry, 20.0)
        own_mariadb.kill()
        then, entry = await stack.publish(5)
        done = await stack.complete(await stack.claim(10))
        assert not await persister.watermarks.wait(1, entry, 0.5)
        own_mariadb.start()
        assert await persister.watermarks.wait(1, done, 30.0)
        rows = await stack.rows()
        assert set(rows) == {*first, *then}
        assert {row["state"] for row in rows.values()} == {State.completed}
        assert {row["history_count"] for row in rows.values()} == {3}
        await persister.stop()


async def test_rows_that_are_missing_or_there_already_are_put_right(redis: Redis, database_url: str) -> None:
    async with open_stack(redis, database_url) as stack:
        persister = stack.persister()
        await persister.start()
        ids, entry = await stack.publish(4)
        assert await persister.watermarks.wait(1, entry, 20.0)
        async with stack.engine.begin() as conn:
            await conn.execute(tables.messages.delete().where(tables.messages.c.id == ids[0]))
            terminal = update(tables.messages).where(tables.messages.c.id == ids[1])
            await conn.execute(terminal.values(state=State.cancelled))
        end = await stack.complete(await stack.claim(4))
        assert await persister.watermarks.wait(1, end, 20.0)
        rows = await stack.rows()
        assert rows[ids[0]]["state"] == rows[ids[2]]["state"] == State.completed
        assert rows[ids[0]]["body"] == b'{"n":1}'
        assert rows[ids[1]]["state"] == State.cancelled, "a terminal row stays as it is"
        await persister.stop()


async def test_a_response_that_is_no_text_is_kept_as_it_is(redis: Redis, database_url: str) -> None:
    async with open_stack(redis, database_url) as stack:
        await stack.publish()
        response = bytes(range(256))
        end = await stack.complete(await stack.claim(), response)
        persister = stack.persister()
        await persister.start()
        assert await persister.watermarks.wait(1, end, 20.0)
        (row,) = (await stack.rows()).values()
        assert row["response"] == response
        await persister.stop()


async def test_entries_and_ids_of_a_stranger_are_passed_over(redis: Redis, sqlite_url: str) -> None:
    async with open_stack(redis, sqlite_url) as stack:
        journal = stack.scope.shard.journal
        await redis.xadd(journal, {"op": "junk"}, id="1-*")
        await redis.xadd(
            journal,
            {
                "op": "publish",
                "s": "nonsense",
                "at": 1,
                "ev": b"\x96" + b"\xa1x" * 5 + b"\xd9\x24" + b"x" * 36,
            },
            id="1-*",
        )
        await redis.xadd(journal, {"op": "publish", "s": stack.scope.root, "at": 1, "ev": b"\xc1"}, id="1-*")
        ids, entry = await stack.publish(2)
        persister = stack.persister()
        await persister.start()
        assert await persister.watermarks.wait(1, entry, 20.0)
        assert set(await stack.rows()) == set(ids)
        await persister.stop()


async def test_what_redis_lost_between_reading_and_committing_is_not_acknowledged(
    redis: Redis, database_url: str
) -> None:
    async with open_stack(redis, database_url) as stack:
        await stack.publish(3)
        writer = Writer(stack.engine, redis)
        before = await load_position(writer, 1)
        committed: list[Version] = []

        async def note(_shard: int, version: Version) -> None:
            committed.append(version)

        journal = ShardJournal(stack.scope.shard, before, stack.runner, writer, note)
        journal.feed(await redis.xrange(stack.scope.shard.journal))
        await redis.flushall()
        with pytest.raises(Lost):
            await journal.carry_next()
        assert committed == []
        assert await load_position(writer, 1) == before


async def test_a_recovery_that_fails_is_tried_again(redis: Redis, sqlite_url: str) -> None:
    """By the loop that keeps the leases too: it must outlive every failure."""
    async with open_stack(redis, sqlite_url) as stack:
        failures = iter([RuntimeError("raced"), NotReadyError("not yet")])

        async def recover() -> None:
            if failure := next(failures, None):
                raise failure
            await stack.recovery.prepare()

        persister = Persister(redis, stack.runner, stack.engine, shards=stack.shards, recover=recover)
        await persister.start()
        await redis.flushall()
        await eventually(lambda: redis.exists(stack.scope.shard.epoch))
        _, entry = await stack.publish()
        assert await persister.watermarks.wait(1, entry, 20.0)
        await persister.stop()


class EmptiedWhenAsked:
    """A Redis that loses everything just before a body is read from it."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.xrange = redis.xrange

    async def hget(self, name: str, key: str) -> Any:
        await self._redis.flushall()
        return await self._redis.hget(name, key)


async def test_a_row_is_not_refused_because_redis_was_emptied_meanwhile(
    redis: Redis, database_url: str
) -> None:
    async with open_stack(redis, database_url) as stack:
        persister = stack.persister()
        await persister.start()
        (message_id,), entry = await stack.publish()
        assert await persister.watermarks.wait(1, entry, 20.0)
        async with stack.engine.begin() as conn:
            await conn.execute(delete(tables.messages).where(tables.messages.c.id == message_id))
        persister._writer.redis = EmptiedWhenAsked(stack.redis)  # type: ignore[assignment]
        epoch = persister.watermarks.mark(1).epoch
        await stack.complete(await stack.claim(1))

        async def recovered() -> bool:
            return persister.watermarks.mark(1).epoch > epoch

        await eventually(recovered)
        assert not await stack.all_of("quarantine")
        await persister.stop()
