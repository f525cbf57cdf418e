"""The worker: rhythm, one run a tick with two workers, errors, dead workers, the end."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from redis.asyncio import Redis

from scaiqueue.rows.migrate import upgrade
from scaiqueue.rows.system_agents import list_agents, seed_agents
from scaiqueue.settings import Settings
from scaiqueue_agents.agent import QUEUE_NAME, Agent, AgentContext, Budget, Result
from scaiqueue_agents.jobs import AgentQueue, enqueue_run, enqueue_tick
from scaiqueue_agents.recorder import Recorder
from scaiqueue_agents.runs import Runs
from scaiqueue_agents.schedule import AGENTS
from tests.agents.child_worker import AT_WORK
from tests.agents.conftest import working
from tests.eventually import eventually
from tests.servers import RedisServer

ROOT = Path(__file__).parents[2]


class Beat:
    """An agent for tests that notes when it ran."""

    def __init__(self, *, failures: int = 0) -> None:
        self.at: list[float] = []
        self._failures = failures

    async def run(self, _context: AgentContext, _budget: Budget) -> Result:
        self.at.append(time.time())
        if len(self.at) <= self._failures:
            raise ValueError("not today")
        return {"beats": len(self.at)}

    def agent(self, every_s: int = 1) -> Agent:
        return Agent("beat", every_s=every_s, bound_s=0.5, purpose="", run=self.run)


async def row(context: AgentContext, name: str = "beat") -> dict[str, Any]:
    rows = {row["name"]: row for row in await list_agents(context.engine)}
    return rows.get(name, {"runs": 0})


async def test_an_agent_of_one_second_runs_every_second(settings: Settings, context: AgentContext) -> None:
    beat = Beat()
    recorded: set[int] = set()

    async def seven_recorded() -> bool:
        recorded.add((await row(context)).get("last_run_at", 0))
        return len(recorded - {0}) >= 7

    async with working(settings, [beat.agent()]):
        await eventually(seven_recorded, timeout=60)
    times = sorted(recorded - {0})
    spacing = median(b - a for a, b in pairwise(times))
    assert abs(spacing - 1000) < abs(spacing - 2000)


async def test_a_run_is_recorded(settings: Settings, context: AgentContext) -> None:
    beat = Beat()
    async with working(settings, [beat.agent()]):
        await eventually(lambda: len(beat.at) >= 2)
    last = await row(context)
    assert last["runs"] == len(beat.at)
    assert last["errors"] == 0
    assert last["schedule"] == "every 1 s"
    assert json.loads(last["last_result"]) == {"status": "ok", "beats": len(beat.at)}
    assert last["last_run_at"] == pytest.approx(beat.at[-1] * 1000, abs=50)
    assert last["last_run_at"] < last["next_run_at"]
    assert last["next_run_at"] % 1000 == 0


async def test_two_workers_have_the_effect_of_one(settings: Settings, redis: Redis) -> None:
    one, two = Beat(), Beat()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(working(settings, [one.agent()]))
        await stack.enter_async_context(working(settings, [two.agent()]))
        await eventually(lambda: len(one.at) + len(two.at) >= 6, timeout=60)
    ticks = await redis.keys(f"{QUEUE_NAME}:tick:beat:*")
    assert len(one.at) + len(two.at) == len(ticks)


async def test_a_tick_is_asked_for_once(queue: AgentQueue) -> None:
    agent = Beat().agent()
    assert await enqueue_tick(queue, agent, 1_000)
    assert not await enqueue_tick(queue, agent, 1_000)
    assert await enqueue_tick(queue, agent, 1_001)


async def test_an_agent_never_runs_twice_at_a_time(context: AgentContext) -> None:
    inside = asyncio.Event()
    leave = asyncio.Event()

    async def run(_context: AgentContext, _budget: Budget) -> Result:
        inside.set()
        await leave.wait()
        return {}

    agent = Agent("slow", every_s=1, bound_s=20, purpose="", run=run)
    recorder = Recorder(context.engine)
    runs = [Runs(context, recorder, asyncio.Event()) for _ in range(2)]
    first = asyncio.create_task(runs[0].run(agent))
    await inside.wait()
    assert (await runs[1].run(agent))["status"] == "skipped"
    leave.set()
    assert (await first)["status"] == "ok"
    assert (await runs[1].run(agent))["status"] == "ok"
    await recorder.close()
    assert (await row(context, "slow"))["runs"] == 2


async def test_an_agent_that_raises_is_recorded_and_goes_on(
    settings: Settings, context: AgentContext
) -> None:
    beat = Beat(failures=1)
    async with working(settings, [beat.agent()]):

        async def failed() -> bool:
            found = await row(context)
            return bool(found["runs"]) and "ValueError: not today" in found["last_result"]

        await eventually(failed, interval=0.001)
        await eventually(lambda: len(beat.at) >= 2)
    last = await row(context)
    assert (last["runs"], last["errors"]) == (len(beat.at), 1)
    assert json.loads(last["last_result"])["status"] == "ok"


async def test_a_run_by_hand(settings: Settings, context: AgentContext, queue: AgentQueue) -> None:
    name = "message_archiver"
    assert await enqueue_run(queue, name)
    assert not await enqueue_run(queue, name), "one waiting run is enough"
    beat = Beat()
    agent = Agent(name, every_s=86_400, bound_s=1, purpose="", run=beat.run)
    async with working(settings, [agent]):
        await eventually(lambda: beat.at)
        await eventually(lambda: enqueue_run(queue, name))
        await eventually(lambda: len(beat.at) == 2)
    with pytest.raises(LookupError):
        await enqueue_run(queue, "nobody")


async def test_runs_count_although_no_row_can_be_written(settings: Settings, context: AgentContext) -> None:
    beat = Beat()
    async with working(settings, [beat.agent()]), context.engine.connect() as writer:
        # An open write transaction: no other writer gets in.
        await writer.exec_driver_sql("UPDATE mod_scaiqueue_system_agents SET runs = runs")
        await eventually(lambda: len(beat.at) >= 3)
    assert (await row(context))["runs"] == len(beat.at)


async def test_rows_of_agents_are_seeded(context: AgentContext) -> None:
    await seed_agents(context.engine, {agent.name: "every blue moon" for agent in AGENTS[1:]})
    await seed_agents(context.engine, {agent.name: agent.schedule for agent in AGENTS})
    rows = {row["name"]: row["schedule"] for row in await list_agents(context.engine)}
    assert rows == {agent.name: agent.schedule for agent in AGENTS}
    assert rows["visibility_timeout_enforcer"] == "every 1 s"
    assert rows["message_archiver"] == "every 5 min"


def child(settings: Settings, manner: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.agents.child_worker"]
    return subprocess.Popen([*command, settings.redis_url, settings.database_url, manner], cwd=ROOT)


async def test_a_dead_worker_leaves_no_agent_stuck(settings: Settings, redis: Redis) -> None:
    dead = child(settings, "stubborn")
    try:
        await eventually(lambda: redis.exists(AT_WORK))
    finally:
        dead.kill()
        dead.wait()
    beat = Beat()
    async with working(settings, [beat.agent()]):
        await eventually(lambda: beat.at)


@pytest.mark.parametrize("manner", ["willing", "stubborn"])
async def test_sigterm_ends_the_worker(
    settings: Settings, redis: Redis, context: AgentContext, manner: str
) -> None:
    process = child(settings, manner)
    try:
        await eventually(lambda: redis.exists(AT_WORK))
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 10) == 0
    finally:
        process.kill()
        process.wait()
    if manner == "willing":
        assert json.loads((await row(context))["last_result"]) == {"status": "ok", "ended": "in order"}


@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_a_restart_of_the_server_is_survived(sqlite_url: str, kind: str) -> None:
    await upgrade(sqlite_url)
    beat = Beat()
    with RedisServer(kind=kind) as server:
        settings = Settings(redis_url=server.url, database_url=sqlite_url)
        async with working(settings, [beat.agent()]):
            await eventually(lambda: beat.at)
            server.restart(crash=True)
            before = len(beat.at)
            await eventually(lambda: len(beat.at) >= before + 2, timeout=60)


async def test_a_run_that_hangs_is_cut_off_and_recorded(context: AgentContext) -> None:
    async def run(_context: AgentContext, _budget: Budget) -> Result:
        await asyncio.Event().wait()
        return {}

    recorder = Recorder(context.engine)
    agent = Agent("stuck", every_s=60, bound_s=-2.9, purpose="", run=run)
    result = await Runs(context, recorder, asyncio.Event()).run(agent)
    assert result == {"status": "error", "error": "cut off after 0.1 s"}
    await recorder.close()
    assert (await row(context, "stuck"))["errors"] == 1
