"""Redis restarts, loses its end, or loses everything: what was committed is not lost."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from scaiqueue.keys import Shard
from scaiqueue.persister.service import Persister
from scaiqueue.records import State, Version, decode_record
from scaiqueue.recovery.fence import look, recovery_lock
from scaiqueue.recovery.rebuild import Rebuild
from scaiqueue.rows import positions, restorable
from scaiqueue.rows.engine import open_engine
from scaiqueue.rows.restorable import Restorable
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import CompleteItem
from scaiqueue.scripts.replies import NotReadyError
from scaiqueue.settings import SettingsError
from tests.eventually import eventually
from tests.servers import RedisServer
from tests.stack import Stack, open_stack


@pytest.fixture
async def stack(redis: Redis, database_url: str) -> AsyncIterator[Stack]:
    async with open_stack(redis, database_url) as stack:
        yield stack


@pytest.fixture
def aof_server() -> Iterator[RedisServer]:
    with RedisServer(appendonly="yes", appendfsync="everysec") as server:
        yield server


@asynccontextmanager
async def persisting(stack: Stack) -> AsyncIterator[Persister]:
    persister = stack.persister()
    await persister.start()
    try:
        yield persister
    finally:
        await persister.stop()


async def claim_all(stack: Stack, queue: str = "orders") -> list[str]:
    """Ids of everything that can be claimed, in the order of the queue."""
    found: list[str] = []
    while claimed := await stack.claim(100, queue=queue):
        found += [message[0].decode() for message in claimed]
    return found


async def test_a_wiped_redis_is_rebuilt_from_the_rows(stack: Stack) -> None:
    async with persisting(stack) as persister:
        low, _ = await stack.publish(3, queue="urgent", rank=1500)
        high, _ = await stack.publish(3, queue="urgent", rank=4500)
        done, _ = await stack.publish(2)
        await stack.complete(await stack.claim(2))
        (held,), _ = await stack.publish()
        (lease,) = await stack.claim(1)
        later, _ = await stack.publish(2, delay_ms=3_600_000)
        (keyed,), last = await stack.publish(key="order-7")
        assert await persister.watermarks.wait(1, last, 20.0)
        await stack.redis.flushall()
        assert sorted(await stack.recovery.prepare()) == [0, 1]

        assert await claim_all(stack, "urgent") == high + low
        assert await claim_all(stack) == [held, keyed]
        assert await stack.redis.zcard(stack.scope.queue("orders").key("scheduled")) == len(later)
        again, _ = await stack.publish(key="order-7", expect="DUPLICATE")
        assert again == [keyed]
        reply = await binding.complete(
            stack.runner, stack.scope, [CompleteItem(lease[0], lease[1], "worker")]
        )
        assert reply.items[0][0] == "CLAIM_LOST"
        assert int(await stack.redis.get(Shard(1).epoch)) == 2

        (_, entry) = await stack.publish()
        assert await persister.watermarks.wait(1, entry, 20.0)
        rows = await stack.rows()
        assert {rows[name]["state"] for name in done} == {State.completed}
        assert rows[held]["attempts"] == 2


async def test_the_end_that_redis_lost_comes_back(aof_server: RedisServer, sqlite_url: str) -> None:
    """An older append-only file is put back: what was committed after it lives on in the rows."""
    async with Redis.from_url(aof_server.url) as redis, open_stack(redis, sqlite_url) as stack:
        files, kept = aof_server.folder / "appendonlydir", aof_server.folder / "older"
        async with persisting(stack) as persister:
            before, entry = await stack.publish(5)
            gone_before, _ = await stack.publish(2, queue="urgent")
            (held,), entry = await stack.publish(1)
            assert await persister.watermarks.wait(1, entry, 20.0)
            await redis.config_set("appendfsync", "always")
            await stack.publish(1)
            shutil.copytree(files, kept)
            after, entry = await stack.publish(5)
            end = await stack.complete(await stack.claim(2, queue="urgent"))
            assert await persister.watermarks.wait(1, end, 20.0)
            aof_server.kill()
            shutil.rmtree(files)
            kept.rename(files)
            aof_server.start()

            with pytest.raises(NotReadyError):
                await eventually_answers(stack)
            await stack.recovery.prepare()
            claimable = await claim_all(stack)
            assert set(before + after + [held]) <= set(claimable)
            assert claimable == sorted(claimable)
            assert await claim_all(stack, "urgent") == []
            _, entry = await stack.publish(3)
            assert entry.epoch == 2
            assert await persister.watermarks.wait(1, entry, 20.0)
            rows = await stack.rows()
            assert {rows[name]["state"] for name in gone_before} == {State.completed}


async def eventually_answers(stack: Stack) -> None:
    """The first call that reaches the restarted server: connections of the old one fail first."""
    while True:
        try:
            await stack.publish()
            return
        except (RedisError, OSError):
            await asyncio.sleep(0.01)


async def test_killed_under_load_nothing_committed_is_lost(aof_server: RedisServer, mariadb_url: str) -> None:
    async with Redis.from_url(aof_server.url) as redis, open_stack(redis, mariadb_url) as stack:
        await stack.recovery.start()
        async with persisting(stack) as persister:
            acknowledged: set[str] = set()
            enough = asyncio.Event()

            async def produce() -> None:
                while True:
                    ids, entry = await stack.publish(10)
                    if await persister.watermarks.wait(1, entry, 1.0):
                        acknowledged.update(ids)
                    if len(acknowledged) >= 300:
                        enough.set()

            producers = [asyncio.create_task(produce()) for _ in range(4)]
            await asyncio.wait_for(enough.wait(), 30.0)
            aof_server.kill()
            await asyncio.gather(*producers, return_exceptions=True)
            aof_server.start()

            async def open_again() -> bool:
                return await redis.get(Shard(1).epoch) == b"2"

            await eventually(lambda: ignoring_errors(open_again()))
            assert acknowledged <= set(await claim_all(stack))
            assert acknowledged <= set(await stack.rows())
        await stack.recovery.stop()


async def ignoring_errors(answer: object) -> object:
    try:
        return await answer  # type: ignore[misc]
    except (RedisError, OSError):
        return False


async def test_a_flushed_script_cache_is_no_restart(stack: Stack) -> None:
    await stack.redis.script_flush()
    _, entry = await stack.publish()
    assert entry.epoch == 1


async def test_a_whole_index_is_left_alone(stack: Stack) -> None:
    await stack.publish()
    assert await stack.recovery.prepare() == []
    assert await stack.redis.get(Shard(1).epoch) == b"1"


async def test_processes_that_recover_at_once_do_it_once(stack: Stack) -> None:
    async with persisting(stack) as persister:
        _, entry = await stack.publish(5)
        assert await persister.watermarks.wait(1, entry, 20.0)
        other = Stack(stack.redis, stack.engine)
        await stack.redis.flushall()
        await asyncio.gather(stack.recovery.prepare(), other.recovery.prepare(), stack.recovery.prepare())
        assert await stack.redis.get(Shard(1).epoch) == b"2"
        assert len(await claim_all(stack)) == 5


async def test_a_restart_keeps_leases_that_redis_kept(aof_server: RedisServer, sqlite_url: str) -> None:
    async with Redis.from_url(aof_server.url) as redis, open_stack(redis, sqlite_url) as stack:
        await stack.publish(3)
        claimed = await stack.claim(2)
        await eventually(lambda: aof_written(redis))
        aof_server.restart()
        await stack.recovery.prepare()
        await stack.complete(claimed)
        assert len(await claim_all(stack)) == 1
        rows = await stack.rows()
        assert len(rows) == 3, "the journal's rest was carried over before the epoch was raised"


async def test_what_had_ended_before_a_restart_is_forgotten_after_it(
    aof_server: RedisServer, sqlite_url: str
) -> None:
    """Its rows were carried over by the recovery, so no batch of the new epoch names it."""
    async with Redis.from_url(aof_server.url) as redis, open_stack(redis, sqlite_url) as stack:
        left, _ = await stack.publish(3)
        await stack.complete(await stack.claim(2))
        await eventually(lambda: aof_written(redis))
        aof_server.restart()
        await stack.recovery.prepare()

        async def only_what_waits() -> bool:
            return bool(await redis.hkeys(stack.scope.key("state")) == [left[2].encode()])

        assert not await only_what_waits()
        async with persisting(stack):
            await eventually(only_what_waits)


async def aof_written(redis: Redis) -> bool:
    info = await redis.info("persistence")
    return bool(info["aof_pending_bio_fsync"] == 0)


async def test_missing_entries_are_repaired_from_the_index(stack: Stack) -> None:
    """Rows from an older backup: the journal no longer reaches back to their position."""
    first, _ = await stack.publish(2)
    lost, _ = await stack.publish(2)
    last, _ = await stack.publish(2)
    await stack.redis.xdel(stack.scope.shard.journal, "1-1")
    async with persisting(stack) as persister:

        async def repaired() -> bool:
            return (await stack.position()).epoch == 2

        await eventually(repaired)
        assert set(await stack.rows()) == {*first, *lost, *last}
        await eventually(lambda: 1 in persister.owned)
        _, entry = await stack.publish()
        assert await persister.watermarks.wait(1, entry, 20.0)


async def test_waiters_of_an_epoch_that_ends_are_answered(stack: Stack) -> None:
    async with persisting(stack) as persister:
        waiter = asyncio.create_task(persister.watermarks.wait(1, Version(1, 99), 20.0))
        await stack.redis.flushall()
        await stack.recovery.prepare()
        assert await waiter is False


async def test_another_number_of_shards_refuses_to_start(stack: Stack) -> None:
    with pytest.raises(SettingsError, match="SCAIQUEUE_SHARDS=2"):
        await Stack(stack.redis, stack.engine, shards=4).recovery.prepare()


async def test_positions_move_by_compare_and_set(stack: Stack, database_url: str) -> None:
    other = open_engine(database_url)
    async with stack.engine.begin() as conn:
        assert await positions.advance(conn, 1, Version(1, -1), Version(1, 3), 4, 1000)
    async with other.begin() as conn:
        assert not await positions.advance(conn, 1, Version(1, -1), Version(1, 5), 6, 1000)
    await other.dispose()
    assert await stack.position() == Version(1, 3)


async def test_a_lock_of_the_server_s_earlier_run_delays_nobody(
    aof_server: RedisServer, sqlite_url: str
) -> None:
    """A process died in the middle of recovery, and so did Redis."""
    async with Redis.from_url(aof_server.url) as redis, open_stack(redis, sqlite_url) as stack:
        run_id = (await look(redis, ())).run_id
        left = recovery_lock(redis, run_id)
        assert await left.acquire()
        await redis.config_set("appendfsync", "always")
        await stack.publish()
        aof_server.restart(crash=True)
        await stack.recovery.prepare()
        assert await redis.exists(left.name)
        assert await redis.get(Shard(1).epoch) == b"2"


async def test_a_server_emptied_during_its_recovery_is_recovered_again(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with persisting(stack) as persister:
        ids, entry = await stack.publish(5)
        assert await persister.watermarks.wait(1, entry, 20.0)
    empties = 0

    async def run(self: Rebuild, *args: Version, **how: bool) -> int:
        nonlocal empties
        count = await restored(self, *args, **how)
        if self.shard.number == 1 and empties == 0:
            empties += 1
            await stack.redis.flushall()
        return count

    restored = Rebuild.run
    monkeypatch.setattr(Rebuild, "run", run)
    await stack.redis.flushall()
    await stack.recovery.prepare()
    assert empties == 1
    assert await claim_all(stack) == ids


async def test_a_recovery_that_was_cut_short_is_done_again_from_the_beginning(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it restored is in the new epoch's journal already, the rest is in the rows alone."""
    async with persisting(stack) as persister:
        ids, entry = await stack.publish(5)
        await stack.claim(2)
        _, entry = await stack.publish()
        assert await persister.watermarks.wait(1, entry, 20.0)
    complete = restorable.live_messages

    async def cut_short(*args: Any) -> AsyncIterator[list[Restorable]]:
        async for page in complete(*args):
            if claimed := [row for row in page if decode_record(row.record).state == State.claimed]:
                yield claimed
                raise RuntimeError("the process dies")

    monkeypatch.setattr(restorable, "live_messages", cut_short)
    await stack.redis.flushall()
    with pytest.raises(RuntimeError, match="dies"):
        await stack.recovery.prepare()
    monkeypatch.undo()
    await stack.recovery.prepare()
    assert (await claim_all(stack))[:5] == ids


async def test_a_recovery_of_an_older_index_that_was_cut_short_brings_nothing_back_that_has_ended(
    aof_server: RedisServer, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index still holds what it came back with: the rows alone say that it is over."""
    async with Redis.from_url(aof_server.url) as redis, open_stack(redis, sqlite_url) as stack:
        files, kept = aof_server.folder / "appendonlydir", aof_server.folder / "older"
        async with persisting(stack) as persister:
            await redis.config_set("appendfsync", "always")
            await stack.publish(2, queue="urgent")
            await stack.publish(1)
            shutil.copytree(files, kept)
            end = await stack.complete(await stack.claim(2, queue="urgent"))
            assert await persister.watermarks.wait(1, end, 20.0)
        aof_server.kill()
        shutil.rmtree(files)
        kept.rename(files)
        aof_server.start()
        await eventually(lambda: answering(redis))

        async def cut_short(*_args: Any) -> AsyncIterator[list[Restorable]]:
            raise RuntimeError("the process dies")
            yield []

        monkeypatch.setattr(restorable, "touched_between", cut_short)
        with pytest.raises(RuntimeError, match="dies"):
            await stack.recovery.prepare()
        monkeypatch.undo()
        await stack.recovery.prepare()
        assert await claim_all(stack, "urgent") == []
        assert len(await claim_all(stack)) == 1


async def answering(redis: Redis) -> bool:
    """Connections of the server's earlier run fail first."""
    try:
        return bool(await redis.ping())
    except (RedisError, OSError):
        return False
