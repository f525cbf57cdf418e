"""Rows of the system agents: what runs when, and how its last run went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.mysql import insert as mysql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql import ColumnElement

from .engine import is_sqlite, reading
from .tables import system_agents


@dataclass(frozen=True)
class AgentRun:
    """Runs of one agent since its row was last written; `at`, `duration_ms`, `result` are of the latest.

    `at` and `next_at` in ms since 1970, `result` as JSON text.
    """

    name: str
    schedule: str
    at: int
    duration_ms: int
    result: str
    next_at: int
    runs: int = 1
    errors: int = 0


async def seed_agents(engine: AsyncEngine, schedules: Mapping[str, str]) -> None:
    """Make a row for each agent that has none (name -> schedule as text), and write changed schedules."""
    rows = [{"name": name, "schedule": schedule, "last_result": "{}"} for name, schedule in schedules.items()]
    async with engine.begin() as connection:
        known = dict((await connection.execute(select(system_agents.c.name, system_agents.c.schedule))).all())
        changed = [row for row in rows if known.get(row["name"]) != row["schedule"]]
        if changed:
            await _upsert(connection, changed, ["schedule"], [])


async def record_runs(engine: AsyncEngine, runs: Sequence[AgentRun]) -> None:
    """Add `runs` and `errors` to the agents' counts and write the rest over, in one transaction."""
    rows = [
        {
            "name": run.name,
            "schedule": run.schedule,
            "last_run_at": run.at,
            "last_duration_ms": run.duration_ms,
            "last_result": run.result,
            "runs": run.runs,
            "errors": run.errors,
            "next_run_at": run.next_at,
        }
        for run in sorted(runs, key=lambda run: run.name)
    ]
    replaced = ["schedule", "last_run_at", "last_duration_ms", "last_result", "next_run_at"]
    if rows:
        async with engine.begin() as connection:
            await _upsert(connection, rows, replaced, ["runs", "errors"])


async def list_agents(engine: AsyncEngine) -> list[dict[str, Any]]:
    """All agents by name, as column -> value; `last_result` is JSON text, times in ms, 0 = never."""
    async with reading(engine) as connection:
        found = await connection.execute(select(system_agents).order_by(system_agents.c.name))
        return [dict(row) for row in found.mappings()]


async def _upsert(
    connection: AsyncConnection, rows: list[dict[str, Any]], replaced: list[str], added: list[str]
) -> None:
    if is_sqlite(connection):
        lite = sqlite_insert(system_agents).values(rows)
        await connection.execute(
            lite.on_conflict_do_update(index_elements=["name"], set_=_changes(lite.excluded, replaced, added))
        )
    else:
        maria = mysql_insert(system_agents).values(rows)
        await connection.execute(maria.on_duplicate_key_update(_changes(maria.inserted, replaced, added)))


def _changes(given: Any, replaced: list[str], added: list[str]) -> dict[str, ColumnElement[Any]]:
    changes = {name: given[name] for name in replaced}
    return changes | {name: system_agents.c[name] + given[name] for name in added}
