"""What the agents do to the index, through the real scripts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from scaiqueue.keys import DEAD_LETTER
from scaiqueue.records import State
from scaiqueue.rows.system_agents import list_agents
from scaiqueue.scripts.bundle import load_bundle
from scaiqueue.settings import Settings
from scaiqueue_agents import chosen_queues, dead_letter_monitor
from scaiqueue_agents.agent import AgentContext, Budget
from scaiqueue_agents.dead_letter_monitor import watch_dead_letters
from scaiqueue_agents.expiry_enforcer import enforce_expiry
from scaiqueue_agents.priority_aging_worker import age_priorities
from scaiqueue_agents.schedule import AGENTS
from scaiqueue_agents.visibility_timeout_enforcer import enforce_visibility_timeouts
from tests.agents.conftest import working
from tests.agents.index import make_index
from tests.eventually import eventually

LONG = Budget(3600)  # counted from here, and other tests may run first
IDLE = {"swept": 0, "lease_lost": 0, "promoted": 0, "expired": 0, "dead_lettered": 0}


async def test_lost_leases_and_delays_are_settled(context: AgentContext) -> None:
    index = await make_index(context, tasks={}, other={})
    kept, lost = await index.publish("tasks", 2)
    late = (await index.publish("other", delay_ms=1))[0]
    await index.claim("tasks", 1, visibility_ms=600_000)
    await index.claim("tasks", 1, visibility_ms=1)
    total = dict(IDLE)

    async def settled() -> bool:
        for name, number in (await enforce_visibility_timeouts(context, LONG)).items():
            total[name] += number
        return total["swept"] >= 2

    await eventually(settled)
    assert total == IDLE | {"swept": 2, "lease_lost": 1, "promoted": 1}
    assert await index.pending("tasks") == [lost]
    assert await index.pending("other") == [late]
    assert (await index.record(kept)).state == State.claimed


async def test_mass_expiries_end_in_bounded_steps(context: AgentContext) -> None:
    index = await make_index(context, tasks={})
    ids = [message for _ in range(3) for message in await index.publish("tasks", 400, ttl_ms=1)]
    assert await enforce_expiry(context, Budget(0)) == IDLE | {"more": True}
    expired = 0

    async def all_expired() -> bool:
        nonlocal expired
        expired += (await enforce_expiry(context, LONG))["expired"]
        return expired >= len(ids)

    await eventually(all_expired)
    assert await index.pending("tasks") == []
    assert (await index.record(ids[-1])).state == State.expired


async def test_two_sweeps_at_once_have_the_effect_of_one(context: AgentContext) -> None:
    index = await make_index(context, tasks={"max_retries": 0})
    ids = await index.publish("tasks", 500)
    assert len(await index.claim("tasks", 500, visibility_ms=1)) == 500
    dead = 0

    async def all_dead() -> bool:
        nonlocal dead
        both = await asyncio.gather(enforce_visibility_timeouts(context, LONG), enforce_expiry(context, LONG))
        dead += sum(result["dead_lettered"] for result in both)
        return dead >= len(ids)

    await eventually(all_dead)
    assert dead == len(ids)
    assert sorted(await index.pending(DEAD_LETTER)) == sorted(ids)


async def test_a_fenced_redis_is_left_alone(context: AgentContext) -> None:
    """After a restart the script cache is empty; an agent that filled it would lift the fence."""
    await make_index(context, tasks={})
    await context.redis.script_flush()
    result = await enforce_visibility_timeouts(context, LONG)
    assert result == IDLE | {"shards_not_ready": context.settings.shards}
    assert await context.redis.script_exists(load_bundle()["sweep"].sha1) == [False]


async def test_an_index_that_is_not_whole_is_left_alone(context: AgentContext) -> None:
    index = await make_index(context, tasks={})
    await index.publish("tasks", ttl_ms=1)
    await context.redis.delete(index.scope.shard.epoch)
    result = await enforce_visibility_timeouts(context, LONG)
    assert result == IDLE | {"shards_not_ready": 1}


async def test_a_broken_shard_does_not_hold_up_the_others(context: AgentContext) -> None:
    index = await make_index(context, tasks={})
    await index.publish("tasks", delay_ms=1)
    broken = next(shard for shard in context.shards if shard != index.scope.shard)
    await context.redis.set(broken.due, "no index at all")

    async def promoted() -> bool:
        with pytest.raises(RuntimeError, match="failed on 1 shards"):
            await enforce_visibility_timeouts(context, LONG)
        return len(await index.pending("tasks")) == 1

    await eventually(promoted)


async def test_growth_of_a_dead_letter_queue_is_warned_of(context: AgentContext) -> None:
    index = await make_index(context, tasks={})

    async def look() -> list[dict[str, object]]:
        with capture_logs() as logs:
            await watch_dead_letters(context, LONG)
        return [entry for entry in logs if entry["log_level"] == "warning"]

    assert await look() == []
    await index.publish("tasks", 3)
    await index.fail_for_good(await index.claim("tasks", 3))
    assert await look() == [
        {
            "event": "dead_letter_grew",
            "log_level": "warning",
            "tenant": "acme",
            "scope": "orders",
            "scope_id": index.scope.scope_id,
            "depth": 3,
            "grown_by": 3,
        }
    ]
    assert await look() == []
    assert dead_letter_monitor.metrics.DEAD_LETTER_DEPTH._value.get() == 3
    assert len(await index.claim(DEAD_LETTER, 2)) == 2, "being looked at is not growth"
    assert await look() == []


async def test_aging_ends_starvation_across_tiers(context: AgentContext) -> None:
    index = await make_index(context, tasks={"ordering": "priority", "aging": "1 1000 1"})
    await index.publish("tasks", 50, rank=3500)
    starving = (await index.publish("tasks", rank=0))[0]
    rounds = 0

    async def served() -> bool:
        nonlocal rounds
        rounds += 1
        await index.publish("tasks", 10, rank=3500)
        await age_priorities(context, LONG)
        return starving in [message for message, _ in await index.claim("tasks", 10)]

    await eventually(served)
    assert len(await index.pending("tasks")) >= 40, "the high traffic never ended"
    assert (await index.record(starving)).rank == 0, "the published rank is shown as it was"


async def test_without_aging_the_message_starves(context: AgentContext) -> None:
    """What the test above would show if the agent did nothing."""
    index = await make_index(context, tasks={"ordering": "priority"})
    await index.publish("tasks", 50, rank=3500)
    starving = (await index.publish("tasks", rank=0))[0]
    for _ in range(20):
        await index.publish("tasks", 10, rank=3500)
        assert await age_priorities(context, LONG) == {"queues": 0, "aged": 0}
        assert starving not in [message for message, _ in await index.claim("tasks", 10)]


async def test_aging_costs_nothing_where_nothing_is_old(context: AgentContext) -> None:
    index = await make_index(context, tasks={"ordering": "priority", "aging": "3600000 100 3600000"})
    for rank in (0, 1200, 4900):
        await index.publish("tasks", 300, rank=rank)
    before = await context.redis.xlen(index.scope.shard.journal)
    assert await age_priorities(context, LONG) == {"queues": 1, "aged": 0}
    assert await context.redis.xlen(index.scope.shard.journal) == before


async def test_aging_goes_on_where_its_time_ran_out(
    context: AgentContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chosen_queues, "PAGE", 2)
    aging = {"ordering": "priority", "aging": "1 10 3600000"}
    await make_index(context, **{f"q{number}": aging for number in range(5)})

    class Steps(Budget):
        """Spent after a number of steps, whatever they take."""

        def __init__(self, steps: int) -> None:
            self.left = steps

        @property
        def spent(self) -> bool:
            self.left -= 1
            return self.left < 0

    assert await age_priorities(context, Steps(3)) == {"queues": 4, "aged": 0, "more": True}
    assert await age_priorities(context, LONG) == {"queues": 2, "aged": 0}
    assert await age_priorities(context, LONG) == {"queues": 5, "aged": 0}


@pytest.fixture
async def seen_by_rows(context: AgentContext) -> AsyncIterator[None]:
    yield
    rows = {row["name"]: row for row in await list_agents(context.engine)}
    assert {name for name, row in rows.items() if row["errors"]} == set()


@pytest.mark.usefixtures("seen_by_rows")
async def test_a_worker_with_all_agents_takes_back_a_lost_lease(
    settings: Settings, context: AgentContext
) -> None:
    index = await make_index(context, tasks={})
    ids = await index.publish("tasks", 3)
    async with working(settings, AGENTS):
        await index.claim("tasks", 3, visibility_ms=1)
        await eventually(lambda: index.pending("tasks"))
        assert await index.pending("tasks") == ids
