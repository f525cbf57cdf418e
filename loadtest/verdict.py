"""What must hold after the demo, read from the rows themselves and not from what the API says of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from loadtest.crew import Course
from loadtest.webhooks import Webhook
from scaiqueue.records import State
from scaiqueue.rows import tables
from scaiqueue.rows.engine import open_engine, reading

PATIENCE_S = 30
_POLL_S = 0.05


class Row(NamedTuple):
    """Of a message's row, what is checked; `events` are (event, attempts, actor) in order."""

    state: State
    attempts: int
    body: bytes
    events: list[tuple[str, int, str]]

    def completions(self) -> list[str]:
        """Who completed it, once for each time."""
        return [actor for event, _, actor in self.events if event == "completed"]


class Check(NamedTuple):
    name: str
    detail: str
    good: bool


async def settled_rows(database_url: str, scope_id: str, total: int) -> dict[str, Row]:
    """The scope's rows by id, once `total` are in a final state, or as they are when patience ends."""
    engine = open_engine(database_url, pool_size=1)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_S
    try:
        while True:
            rows = await _read(engine, scope_id)
            if sum(row.state.terminal for row in rows.values()) >= total or loop.time() > deadline:
                return rows
            await asyncio.sleep(_POLL_S)
    finally:
        await engine.dispose()


async def _read(engine: AsyncEngine, scope_id: str) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    async with reading(engine) as conn:
        for table in (tables.messages, tables.message_archive):
            found = await conn.execute(select(table).where(table.c.scope_id == scope_id))
            rows |= {row["id"]: _row(dict(row)) for row in found.mappings()}
    return rows


def judge(sent: Mapping[str, Webhook], rows: Mapping[str, Row], course: Course) -> list[Check]:
    """`sent` are the webhooks by the id that publish answered."""
    delivered = [one for one in course.deliveries if one.id in sent]
    exact = [one for one in delivered if one.body == sent[one.id].body]
    types = [one for one in delivered if one.type == f"github.{sent[one.id].event}"]
    stored = [id for id, row in rows.items() if id in sent and row.body == sent[id].body]
    once = [id for id, row in rows.items() if row.state is State.completed and len(row.completions()) == 1]
    again = [id for id in course.held if _redelivered(rows.get(id), course.killed)]
    return [
        Check(
            "delivered byte for byte",
            f"{len(exact)} of {len(course.deliveries)}",
            len(exact) == len(types) == len(course.deliveries) and {one.id for one in delivered} == set(sent),
        ),
        Check(
            "stored byte for byte",
            f"{len(stored)} of {len(sent)}",
            set(stored) == set(rows) == set(sent),
        ),
        Check("completed exactly once", f"{len(once)} of {len(sent)}", set(once) == set(sent)),
        Check(
            "redelivered, done by others",
            f"{len(again)} of {len(course.held)}",
            bool(again) and set(again) == course.held,
        ),
    ]


def _row(row: Mapping[str, Any]) -> Row:
    steps = msgspec.json.decode(f"[{row['history'].rstrip(',')}]")
    return Row(
        State(row["state"]),
        row["attempts"],
        row["body"],
        [(step[0], step[2], step[3]) for step in steps],
    )


def _redelivered(row: Row | None, killed: str) -> bool:
    return (
        row is not None
        and row.attempts >= 2
        and any(event == "lease_lost" for event, _, _ in row.events)
        and not any(actor.endswith(f"/{killed}") for actor in row.completions())
    )
