"""What a journal held when Redis was left is told when it comes into the rows, though readers are further."""

from __future__ import annotations

from redis.asyncio import Redis
from sqlalchemy import update

from scaiqueue.events.reader import EventReader
from scaiqueue.fallback import mode
from scaiqueue.moments import now_ms
from scaiqueue.rows import tables
from tests.stack import open_stack


async def test_a_journal_that_was_left_is_told_later(redis: Redis, sqlite_url: str) -> None:
    async with open_stack(redis, sqlite_url) as stack:
        reader = EventReader(stack.engine)
        (message_id,), entry = await stack.publish(1)  # nobody carries it into the rows
        await mode.doubt(stack.engine)
        async with stack.engine.begin() as conn:
            await conn.execute(update(tables.mode).values(since=now_ms() - 60_000))
        await mode.leave(stack.engine, 1)
        place = await reader.end(stack.shard_number)
        await mode.begin_return(stack.engine, 1)
        await stack.recovery.prepare()
        page = await reader.of_scope(stack.scope, place)
        (told,) = [event for event in page.told if event.event_type.endswith("published")]
        assert told.subject == message_id
        assert told.place > place
        # Whoever reads the journal's own place finds the same event.
        again = await reader.of_scope(stack.scope, place._replace(epoch=entry.epoch, n=-1, place=0, part=0))
        assert [event.event_id for event in again.told].count(told.event_id) == 2
        assert {event.place for event in again.told} >= {told.place}
