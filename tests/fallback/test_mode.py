"""The mode row between processes: doubt, objection, epochs; and calls of one who believes what is over."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from scaiqueue.connection import open_redis
from scaiqueue.fallback import mode
from scaiqueue.fallback.belief import Belief, Path
from scaiqueue.fallback.gate import Gate
from scaiqueue.fallback.mode import Mode, ModeRow
from scaiqueue.fallback.runner import FallbackRunner, WrongEpoch
from scaiqueue.fallback.watch import Watch
from scaiqueue.keys import Shard
from scaiqueue.records import Version
from scaiqueue.rows.engine import reading
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import ClaimItem
from scaiqueue.scripts.replies import NotReadyError
from tests.eventually import eventually
from tests.servers import RedisServer
from tests.stack import Stack, open_stack


@pytest.fixture
async def stack(redis: Redis, database_url: str) -> AsyncIterator[Stack]:
    async with open_stack(redis, database_url) as stack:
        yield stack


async def row(stack: Stack) -> ModeRow:
    async with reading(stack.engine) as conn:
        return await mode.read(conn)


async def epochs(stack: Stack) -> dict[int, int]:
    async with reading(stack.engine) as conn:
        return await mode.epochs(conn)


async def fall_back(stack: Stack) -> int:
    """As processes do that don't hear Redis; answers the term."""
    await mode.doubt(stack.engine)
    term = (await row(stack)).term

    async def left() -> bool:
        await mode.leave(stack.engine, term)
        return (await row(stack)).mode is Mode.fallback

    await eventually(left)
    return term


async def test_redis_is_left_two_seconds_after_the_doubt_and_not_before(stack: Stack) -> None:
    _, entry = await stack.publish(3)
    await mode.doubt(stack.engine)
    doubted = await row(stack)
    await mode.leave(stack.engine, doubted.term)
    assert (await row(stack)).mode is Mode.leaving
    assert await epochs(stack) == {0: 1, 1: 1}
    assert await fall_back(stack) == doubted.term
    assert await epochs(stack) == {0: 2, 1: 2}
    left = await mode.left_position(stack.engine, 1)
    assert left is not None
    assert left.version == Version(1, -1), "the rows have nothing of the journal yet"
    assert entry == Version(1, 0)


async def test_an_objection_ends_the_doubt_of_its_term(stack: Stack) -> None:
    await mode.doubt(stack.engine)
    term = (await row(stack)).term
    await mode.veto(stack.engine, term - 1)
    assert (await row(stack)).mode is Mode.leaving
    await mode.veto(stack.engine, term)
    await mode.leave(stack.engine, term)
    assert (await row(stack))[:2] == (Mode.redis, term)


async def test_recovery_stands_still_while_redis_is_away(stack: Stack) -> None:
    ids, _ = await stack.publish(3)
    term = await fall_back(stack)
    assert await stack.recovery.prepare() == []
    await mode.begin_return(stack.engine, term)
    await mode.end_return(stack.engine, term)
    assert (await row(stack)).mode is Mode.returning, "no shard is back yet"
    assert await stack.recovery.prepare() == [0, 1]
    await mode.end_return(stack.engine, term)
    assert (await row(stack)).mode is Mode.redis
    assert sorted(await stack.rows()) == sorted(ids), "what the journal still held is in the rows"
    assert [message.id.decode() for message in await stack.claim(5)] == ids
    assert await mode.left_position(stack.engine, 1) is None


async def test_a_process_cut_off_alone_moves_nobody(
    stack: Stack, redis_server: RedisServer, database_url: str
) -> None:
    deaf, hearing = Belief(stack.engine), Belief(stack.engine)
    watches = [
        Watch(open_redis(url, connections=1), stack.redis, belief, 0.3, stack.recovery.prepare)
        for url, belief in ((redis_server.url + ".gone", deaf), (redis_server.url, hearing))
    ]
    for watch in watches:
        watch.start()
    try:

        async def objected() -> bool:
            now = await row(stack)
            return (now.mode, now.term) == (Mode.redis, 1)

        await eventually(objected)
        assert not deaf.hears_redis
        assert hearing.path is Path.redis
        assert await epochs(stack) == {0: 1, 1: 1}
    finally:
        for watch in watches:
            await watch.stop()


async def test_a_call_goes_under_its_shards_epoch(stack: Stack) -> None:
    belief = Belief(stack.engine)
    await belief.refresh()
    gate = Gate(stack.redis, belief, FallbackRunner(stack.engine, max_body=1000))

    async def claim() -> str:
        queues = [stack.scope.queue("orders")]
        reply = await binding.claim(gate, stack.scope, queues, [], "ordered", [ClaimItem("worker", 1)])
        return str(reply.items[0][0])

    await stack.publish(2)
    assert await claim() == "OK"
    await stack.redis.delete(Shard(1).epoch)
    with pytest.raises(NotReadyError):
        await claim()
    assert await stack.recovery.prepare() == [1]
    assert belief.epochs[Shard(1).epoch] == "1"
    assert await claim() == "OK", "another epoch is asked for, and the call goes once more"
    assert belief.epochs[Shard(1).epoch] == "2"


async def test_the_rows_take_no_call_of_another_epoch(stack: Stack) -> None:
    term = await fall_back(stack)
    belief = Belief(stack.engine)
    await belief.refresh()
    assert belief.path is Path.rows
    rows = FallbackRunner(stack.engine, max_body=1000)
    gate, queues = Gate(stack.redis, belief, rows), [stack.scope.queue("orders")]
    call = binding.claim_call(stack.scope, queues, [], "ordered", [ClaimItem("worker", 1)], epoch=1)
    with pytest.raises(WrongEpoch):
        await rows.run(*call, term=term)
    assert (await gate.run(*call))[1] == [b"EMPTY"]
    await mode.begin_return(stack.engine, term)
    with pytest.raises(NotReadyError):
        await gate.run(*call)
    with pytest.raises(NotReadyError, match="sweep"):
        await rows.run(*binding.sweep_call(Shard(1), 10), term=term)
