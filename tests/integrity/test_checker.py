"""Every class of divergence is found by its name, and put right where that is safe; nothing else is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from scaiqueue.integrity.kinds import Kind
from scaiqueue.records import State
from tests.integrity.conftest import Checked, open_checked
from tests.integrity.plants import PLANTS, Plant


def test_every_kind_is_planted_and_those_that_are_repaired_are_seen_repaired() -> None:
    # The audit's chain is broken in tests/audit.
    assert {kind for plant in PLANTS for kind in plant.kinds} == set(Kind) - {Kind.audit_broken}
    assert {kind for plant in PLANTS if plant.clean for kind in plant.kinds} == {
        kind for kind in Kind if kind.repaired
    }


@pytest.mark.parametrize("plant", PLANTS, ids=[plant.name for plant in PLANTS])
async def test_a_planted_divergence_is_found_and_repaired(checked: Checked, plant: Plant) -> None:
    bystanders, _ = await checked.stack.publish(3, queue="urgent")
    await checked.settled()
    assert await checked.check() == []
    if not plant.persisting:
        await checked.stop()
    await plant.plant(checked)
    if plant.persisting:
        await checked.settled()
    found = await checked.check()
    assert {one.kind for one in found} == plant.kinds
    assert {one.subject for one in found}.isdisjoint(bystanders)
    done = await checked.repair(found)
    if plant.clean:
        assert set(done) == set(found)
        await checked.settled()
        assert await checked.check() == []
        await _drained(checked)
    else:
        assert set(done) < set(found) or not done


async def test_an_index_that_was_recovered_meanwhile_is_left_alone(checked: Checked) -> None:
    (message_id,), _ = await checked.stack.publish()
    await checked.settled()
    pending = checked.stack.scope.queue("orders").key("pending")
    await checked.stack.redis.zrem(pending, message_id)
    found = await checked.check()
    assert [one.kind for one in found] == [Kind.unplaced]
    await checked.stop()
    await checked.stack.redis.set(checked.stack.scope.shard.epoch, 2)
    assert await checked.repair(found) == {}
    assert await checked.stack.redis.zcard(pending) == 0


async def _drained(checked: Checked) -> None:
    """What was repaired can be claimed and completed, once each."""
    for queue in ("orders", "urgent"):
        while claimed := await checked.stack.claim(10, queue=queue):
            await checked.stack.complete(claimed)
    await checked.settled()
    assert await checked.check() == []
    assert {row["state"] for row in (await checked.stack.rows()).values()} <= {
        State.completed,
        State.scheduled,
        State.claimed,
    }


@pytest.fixture
async def on_either(redis: Redis, database_url: str) -> AsyncIterator[Checked]:
    async with open_checked(redis, database_url) as found:
        yield found


async def test_what_is_under_way_is_no_divergence(on_either: Checked) -> None:
    """Publishes, claims, completes, failures and delays, while the checker looks five times."""
    stack, over = on_either.stack, asyncio.Event()

    async def produce() -> None:
        n = 0
        while not over.is_set():
            n += 1
            await stack.publish(5, key=f"k{n}", expect=None)
            await stack.publish(5, queue="urgent", delay_ms=n % 3 * 5, ttl_ms=600_000)
            await asyncio.sleep(0)

    async def consume(queue: str) -> None:
        while not over.is_set():
            if claimed := await stack.claim(8, queue=queue):
                await stack.complete(claimed[:6])
                await stack.fail(claimed[6:], retry_after_ms=10)

    tasks = [asyncio.create_task(work) for work in (produce(), consume("orders"), consume("urgent"))]
    try:
        for _ in range(5):
            assert await on_either.check(settle_s=1.0) == []
    finally:
        over.set()
        await asyncio.gather(*tasks)
    await on_either.settled()
    assert await on_either.check() == []
