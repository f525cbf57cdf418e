"""`scaiqueue audit verify`, and the agent that writes checkpoints."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sqlalchemy import update

from scaiqueue.audit.entry import Entry
from scaiqueue.audit.trail import Trail
from scaiqueue.rows import audit, integrity
from scaiqueue.rows.engine import open_engine
from scaiqueue.rows.tables import audit_log
from scaiqueue.scripts.runner import ScriptRunner
from scaiqueue.settings import Settings
from scaiqueue_agents.agent import AgentContext, Budget
from scaiqueue_agents.audit_keeper import keep_audit
from tests.cli.shell import QuickShell
from tests.stack import open_stack


async def _write(trail: Trail, number: int) -> None:
    trail.add("default", "", Entry("publish", number, "key", "", f"r{number}", "", 201, "OK"))
    await trail.write()


async def test_the_agent_writes_checkpoints_and_notes_what_does_not_hold(
    redis: Redis, database_url: str
) -> None:
    async with open_stack(redis, database_url) as stack:
        settings = Settings(database_url=database_url, shards=2, audit_retention_s=0)
        context = AgentContext(settings, redis, ScriptRunner(redis), stack.engine, redis)
        trail = Trail(stack.engine, 2**20)
        for number in range(3):
            await _write(trail, number)
        assert await keep_audit(context, Budget(60)) == {"rows": 3, "faults": 0, "pruned": 0}
        assert await keep_audit(context, Budget(60)) == {"rows": 1, "faults": 0, "pruned": 0}
        (mark,) = await audit.checkpoints(stack.engine, 0)
        assert mark.seq == 3

        await _write(trail, 4)
        async with stack.engine.begin() as conn:
            await conn.execute(update(audit_log).where(audit_log.c.seq == 4).values(calls=7))
        assert (await keep_audit(context, Budget(60)))["faults"] == 1
        await integrity.close_unseen(stack.engine, 2**60, 2**60)
        found, _ = await integrity.page(stack.engine, stack.scope_id, 1, "", 10, corrected=False)
        assert [(one.kind, one.subject, one.corrected_at) for one in found] == [
            ("audit_broken", "changed 4", 0)
        ]

        old = Settings(database_url=database_url, shards=2, audit_retention_s=1)
        context = AgentContext(old, redis, ScriptRunner(redis), stack.engine, redis)
        assert (await keep_audit(context, Budget(60)))["pruned"] == 4


async def _planted(url: str) -> str:
    engine = open_engine(url)
    trail = Trail(engine, 2**20)
    for number in range(3):
        await _write(trail, number)
    last = str((await audit.after(engine, 2, 1))[0].link)
    await engine.dispose()
    return last


@pytest.fixture
def shell(tmp_path: Path, sqlite_url: str) -> QuickShell:
    return QuickShell(tmp_path, SCAIQUEUE_DATABASE_URL=sqlite_url)


def test_the_command_names_what_does_not_hold(shell: QuickShell, sqlite_url: str) -> None:
    assert "can't be read" in shell("audit", "verify", status=1)
    shell("migrate", "up")
    last = asyncio.run(_planted(sqlite_url))
    said = shell("audit", "verify", "--checkpoint", last)
    assert "3 calls in 3 rows, 1 to 3" in said
    assert f"the chain holds; it ends with {last}" in said
    assert json.loads(shell("audit", "verify", "--json"))["last"] == last
    assert "must be SEQ:HASH" in shell("audit", "verify", "--checkpoint", "3:abc", status=1)
    beyond = f"9:{'0' * 64}"
    assert "cut_off" in shell("audit", "verify", "--checkpoint", beyond, status=1)
