"""What recovery reads back from the rows, and how far it says it is."""

from __future__ import annotations

import msgspec
import pytest
from redis.asyncio import Redis
from sqlalchemy import delete

from scaiqueue.keys import RECOVERY_PROGRESS_KEY
from scaiqueue.records import State, decode_record
from scaiqueue.recovery.progress import Progress, finished
from scaiqueue.rows import restorable, tables
from scaiqueue.rows.retention import move_to_archive
from tests.stack import open_stack


@pytest.mark.parametrize("lost", ["nothing", "an event"])
async def test_what_was_touched_is_found_by_events_or_without(
    redis: Redis, database_url: str, lost: str
) -> None:
    """Archived messages too, and those without a transition after the entry are left out."""
    async with open_stack(redis, database_url) as stack:
        persister = stack.persister()
        await persister.start()
        _, before = await stack.publish(2)
        done, _ = await stack.publish(2, queue="urgent")
        waiting, _ = await stack.publish(3, correlation_id="c")
        end = await stack.complete(await stack.claim(2, queue="urgent"))
        assert await persister.watermarks.wait(1, end, 20.0)
        await persister.stop()
        await move_to_archive(stack.engine, done[:1], [State.completed], 2**52)
        if lost == "an event":
            async with stack.engine.begin() as conn:
                await conn.execute(delete(tables.events).where(tables.events.c.n == end.n))
        pages = restorable.touched_between(stack.engine, 1, before, end)
        found = {row.id: row async for page in pages for row in page}
        assert set(found) == {*done, *waiting}
        records = {message_id: decode_record(row.record) for message_id, row in found.items()}
        assert [records[name].state for name in done] == [State.completed] * 2
        assert records[done[0]].version == end
        for name in waiting:
            assert found[name].record == await redis.hget(stack.scope.key("state"), name)
            assert found[name].envelope == await redis.hget(stack.scope.key("body"), name)
        pages = restorable.touched_between(stack.engine, 1, end, end)
        assert [page async for page in pages] == []


async def test_lanes_name_every_place_with_live_messages(redis: Redis, database_url: str) -> None:
    async with open_stack(redis, database_url) as stack:
        persister = stack.persister()
        await persister.start()
        pending, _ = await stack.publish(4)
        await stack.publish(2, queue="urgent", delay_ms=3_600_000)
        await stack.complete(await stack.claim(1))
        (held,) = await stack.claim(1)
        _, last = await stack.publish(1, queue="urgent")
        assert await persister.watermarks.wait(1, last, 20.0)
        await persister.stop()
        lanes = await restorable.live_lanes(stack.engine, stack.scope_id)
        assert sorted((lane.queue, lane.state, lane.messages) for lane in lanes) == [
            ("orders", State.pending, 2),
            ("orders", State.claimed, 1),
            ("urgent", State.scheduled, 2),
            ("urgent", State.pending, 1),
        ]
        claimed = [lane for lane in lanes if lane.state == State.claimed]
        pages = restorable.live_messages(stack.engine, claimed[0])
        assert [row.id async for page in pages for row in page] == [held[0].decode()]
        assert held[0].decode() in pending


async def test_progress_can_be_read_from_redis(redis: Redis) -> None:
    progress = Progress(shard=3)
    await progress.expect(redis, 5000)
    said = msgspec.json.decode(await redis.get(RECOVERY_PROGRESS_KEY))
    assert said == {"shard": 3, "restored": 0, "expected": 5000}
    progress.said = float("-inf")
    await progress.add(redis, 1000)
    said = msgspec.json.decode(await redis.get(RECOVERY_PROGRESS_KEY))
    assert said["restored"] == progress.restored == 1000
    assert 0 < await redis.ttl(RECOVERY_PROGRESS_KEY) <= 60
    await finished(redis)
    assert not await redis.exists(RECOVERY_PROGRESS_KEY)
