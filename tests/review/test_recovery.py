"""What awaits a decision when Redis loses everything."""

from __future__ import annotations

from redis.asyncio import Redis
from uuid_utils import uuid7

from scaiqueue.moments import now_ms
from scaiqueue.records import Flag, decode_record
from scaiqueue.scripts import binding
from tests.eventually import eventually
from tests.scripts.direct import publish_item
from tests.stack import open_stack

HEADER = b'{"type":"t","hitl_spec":{"on_timeout":"escalate"}}'


async def test_an_escalated_review_comes_back_as_it_was(redis: Redis, database_url: str) -> None:
    async with open_stack(redis, database_url) as stack:
        persister = stack.persister()
        await persister.start()
        message_id, queue = str(uuid7()), stack.scope.queue("orders")
        item = publish_item(message_id, HEADER, review_ms=200)
        await binding.publish(stack.runner, stack.scope, [queue], [], "tester", 0, [item])

        async def swept() -> binding.Reply:
            reply = await binding.sweep(stack.runner, stack.scope.shard, 10)
            assert reply.entry is not None
            return reply

        reply = await eventually(swept)
        assert await persister.watermarks.wait(1, reply.entry, 20.0)
        before = decode_record(await redis.hget(stack.scope.key("state"), message_id))
        assert (before.verb, before.rank, before.flags & Flag.outcome) == ("escalate", 4500, 0)
        assert before.due_at > now_ms() - 60_000
        await persister.stop()
        await redis.flushall()
        await stack.recovery.prepare()
        assert decode_record(await redis.hget(stack.scope.key("state"), message_id)) == before
        review = await redis.zrange(queue.key("review"), 0, -1, withscores=True)
        assert review == [(message_id.encode(), float(before.due_at))]
