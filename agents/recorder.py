"""Writes what agents did into their rows, apart from the runs.

A row store that is slow or away must not slow an agent that does not need it: runs are added up in
memory and written by one task, so that a recovered store gets exact counts in one write.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.rows.system_agents import AgentRun, record_runs, seed_agents

from .agent import Agent, Result
from .schedule import AGENTS

_WRITE_LIMIT_S = 10.0
_RETRY_S = 1.0

log = structlog.get_logger("scaiqueue.agents")


class Recorder:
    """Collects runs and writes them; `close()` writes the rest."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._pending: dict[str, AgentRun] = {}
        self._writing: asyncio.Task[None] | None = None
        self._seeded = False
        self._warned = False

    def note(self, agent: Agent, started_at: float, seconds: float, result: Result, *, failed: bool) -> None:
        """Add one run; `started_at` in seconds since 1970."""
        before = self._pending.get(agent.name)
        self._pending[agent.name] = AgentRun(
            name=agent.name,
            schedule=agent.schedule,
            at=int(started_at * 1000),
            duration_ms=round(seconds * 1000),
            result=msgspec.json.encode(result).decode(),
            next_at=agent.tick_after(time.time()) * 1000,
            runs=1 + (before.runs if before else 0),
            errors=int(failed) + (before.errors if before else 0),
        )
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all(), name="agent-recorder")

    async def close(self, seconds: float = 2.0) -> None:
        """Wait at most `seconds` for what is still to be written."""
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=seconds)
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    async def _write_all(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, {}
            try:
                async with asyncio.timeout(_WRITE_LIMIT_S):
                    if not self._seeded:
                        await seed_agents(self._engine, {agent.name: agent.schedule for agent in AGENTS})
                        self._seeded = True
                    await record_runs(self._engine, list(batch.values()))
            except Exception as error:
                self._keep(batch)
                if not self._warned:
                    log.warning("agent_runs_not_recorded", error=f"{type(error).__name__}: {error}")
                self._warned = True
                await asyncio.sleep(_RETRY_S)
            else:
                self._warned = False

    def _keep(self, batch: dict[str, AgentRun]) -> None:
        for name, older in batch.items():
            newer = self._pending.get(name)
            self._pending[name] = (
                replace(newer, runs=newer.runs + older.runs, errors=newer.errors + older.errors)
                if newer
                else older
            )
