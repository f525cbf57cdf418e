"""Archiver and pruners, on SQLite and MariaDB."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Table, func, insert, select, update

from scaiqueue.records import State
from scaiqueue.rows.engine import reading
from scaiqueue.rows.event_tables import webhook_deliveries
from scaiqueue.rows.events import horizon
from scaiqueue.rows.migrate import upgrade
from scaiqueue.rows.queues import QueueSettings, encode_settings
from scaiqueue.rows.tables import events, idempotency, message_archive, messages, queues
from scaiqueue.settings import Settings
from scaiqueue_agents import event_pruner, idempotency_pruner, message_archiver, retention_enforcer
from scaiqueue_agents.agent import AgentContext, Budget
from scaiqueue_agents.event_pruner import prune_old_events
from scaiqueue_agents.idempotency_pruner import prune_idempotency_keys
from scaiqueue_agents.jobs import open_queue
from scaiqueue_agents.message_archiver import archive_messages
from scaiqueue_agents.retention_enforcer import enforce_retention
from scaiqueue_agents.worker import open_context
from tests.agents.index import make_index

HOUR = 3_600_000
NOW = int(time.time() * 1000)
LONG = Budget(3600)  # counted from here, and other tests may run first


@pytest.fixture
async def context(redis_url: str, database_url: str) -> AsyncIterator[AgentContext]:
    await upgrade(database_url)
    settings = Settings(redis_url=redis_url, database_url=database_url, shards=2, event_retention_s=3600)
    queue = open_queue(settings)
    async with open_context(settings, queue) as context:
        yield context
    await queue.disconnect()


def message(state: State, updated_at: int, **values: Any) -> dict[str, Any]:
    """A row with something in every column, so that a lost or swapped one shows."""
    row: dict[str, Any] = {}
    for number, column in enumerate(messages.columns, 1):
        kind = column.type.python_type
        row[column.name] = os.urandom(64) if kind is bytes else number if kind is int else f"{number}"
    return row | {"id": str(uuid4()), "state": int(state), "updated_at": updated_at} | values


async def put(context: AgentContext, table: Table, rows: list[dict[str, Any]]) -> None:
    async with context.engine.begin() as connection:
        await connection.execute(insert(table), rows)


async def rows_of(context: AgentContext, table: Table) -> dict[str, dict[str, Any]]:
    async with reading(context.engine) as connection:
        found = await connection.execute(select(table))
        return {row["id"]: dict(row) for row in found.mappings()}


async def count(context: AgentContext, table: Table) -> int:
    async with reading(context.engine) as connection:
        return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())


async def test_old_terminal_rows_move_unchanged(context: AgentContext) -> None:
    old = [message(state, NOW - 2 * HOUR) for state in State]
    young = [message(state, NOW - HOUR // 2) for state in State]
    await put(context, messages, old + young)

    assert await archive_messages(context, LONG) == {"archived": 4}

    terminal = {row["id"]: row for row in old if State(row["state"]).terminal}
    assert await rows_of(context, message_archive) == terminal
    left = {row["id"]: row for row in old + young if row["id"] not in terminal}
    assert await rows_of(context, messages) == left
    assert await archive_messages(context, LONG) == {"archived": 0}


async def test_two_archivers_move_each_row_once(
    context: AgentContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_archiver, "BATCH_ROWS", 20)
    rows = [message(State.completed, NOW - 2 * HOUR - n % 7) for n in range(200)]
    await put(context, messages, rows)

    results = await asyncio.gather(archive_messages(context, LONG), archive_messages(context, LONG))

    assert sum(result["archived"] for result in results) == len(rows)
    assert await rows_of(context, message_archive) == {row["id"]: row for row in rows}
    assert await count(context, messages) == 0


async def test_a_row_that_is_in_the_archive_already_is_only_deleted(context: AgentContext) -> None:
    archived = message(State.completed, NOW - 3 * HOUR, body=b"first")
    await put(context, message_archive, [archived])
    await put(context, messages, [archived | {"body": b"again"}])
    await archive_messages(context, LONG)
    assert await rows_of(context, message_archive) == {archived["id"]: archived}
    assert await count(context, messages) == 0


async def test_archiving_is_bounded_in_bytes_and_time(
    context: AgentContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_archiver, "BATCH_BYTES", 100)
    await put(context, messages, [message(State.expired, NOW - 2 * HOUR) for _ in range(5)])
    assert await archive_messages(context, Budget(0)) == {"archived": 0, "more": True}
    assert await count(context, messages) == 5
    assert await archive_messages(context, LONG) == {"archived": 5}


async def test_expired_idempotency_keys_are_pruned(
    context: AgentContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency_pruner, "BATCH_ROWS", 10)
    rows = [
        {
            "scope_id": str(uuid4()),
            "queue": "tasks",
            "key_hash": f"{number:064x}",
            "message_id": str(uuid4()),
            "digest": "d" * 64,
            "expires_at": NOW + (HOUR if number % 3 == 0 else -HOUR),
        }
        for number in range(60)
    ]
    await put(context, idempotency, rows)
    assert await prune_idempotency_keys(context, Budget(0)) == {"pruned": 0, "more": True}
    assert await prune_idempotency_keys(context, LONG) == {"pruned": 40}
    assert await count(context, idempotency) == 20


async def test_old_events_are_pruned_in_the_order_of_the_journal(
    context: AgentContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_pruner, "BATCH_ROWS", 7)
    blank = {column.name: "" for column in events.columns}
    rows = [
        blank | {"shard": shard, "epoch": 1 + n // 10, "n": n % 10, "at": NOW - 2 * HOUR + n * HOUR // 10}
        for shard in range(2)
        for n in range(20)
    ]
    await put(context, events, rows)
    old = sum(row["at"] < NOW - HOUR for row in rows)
    pruned = (await prune_old_events(context, LONG))["pruned"]
    assert old <= pruned <= old + 2
    async with reading(context.engine) as connection:
        left = (await connection.execute(select(func.min(events.c.at)))).scalar_one()
        oldest = (await connection.execute(select(events).where(events.c.at == left))).mappings().all()
        horizons = [await horizon(connection, shard) for shard in range(2)]
    assert left > NOW - HOUR
    # Whoever resumes behind the last that went is told that something may be missing.
    first = {row["shard"]: (row["epoch"], row["n"]) for row in oldest}
    assert all(horizons[shard] == (epoch, n - 1) for shard, (epoch, n) in first.items())
    assert await count(context, events) == len(rows) - pruned


async def test_deliveries_that_are_over_are_pruned_with_the_events(context: AgentContext) -> None:
    blank = {column.name: 0 for column in webhook_deliveries.columns}
    texts = ("webhook_id", "tenant_id", "scope_id", "event_id", "event_type", "subject", "error", "replay_of")
    states = {"delivered": NOW - 2 * HOUR, "failed": NOW - 2 * HOUR, "pending": NOW - 2 * HOUR}
    rows = [
        blank | dict.fromkeys(texts, "") | {"id": state, "state": state, "created_at": at}
        for state, at in [*states.items()]
    ]
    rows.append(rows[0] | {"id": "young", "created_at": NOW})
    await put(context, webhook_deliveries, rows)
    assert (await prune_old_events(context, LONG))["deliveries"] == 2
    async with reading(context.engine) as connection:
        left = set((await connection.execute(select(webhook_deliveries.c.id))).scalars())
    assert left == {"pending", "young"}


async def _keeping(context: AgentContext, **seconds: int | None) -> list[dict[str, Any]]:
    """Queues by slug, whose rows have the setting; for each the columns of messages that stand in it."""
    index = await make_index(context, **{slug: {} for slug in seconds})
    scope_id = index.scope.scope_id
    async with context.engine.begin() as connection:
        for slug, kept in seconds.items():
            await connection.execute(
                update(queues)
                .where(queues.c.scope_id == scope_id, queues.c.slug == slug)
                .values(settings=encode_settings(QueueSettings(retention_s=kept)))
            )
    return [{"scope_id": scope_id, "queue": slug} for slug in seconds]


async def test_terminal_messages_go_when_their_queue_keeps_them_no_longer(
    context: AgentContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention_enforcer, "BATCH_ROWS", 3)
    hour, ever, nought = await _keeping(context, hour=3600, ever=None, nought=0)
    over = [message(state, NOW - 2 * HOUR, **hour) for state in State if state.terminal for _ in range(4)]
    kept = [message(state, NOW - 2 * HOUR, **hour) for state in State if not state.terminal]
    kept += [message(State.completed, NOW - HOUR // 2, **hour)]
    kept += [message(State.completed, NOW - 2 * HOUR, **place) for place in (ever, nought)]
    archived = [message(State.cancelled, NOW - 2 * HOUR, **place) for place in (hour, hour, ever)]
    await put(context, messages, over + kept)
    await put(context, message_archive, archived)

    assert await enforce_retention(context, Budget(0)) == {"removed": 0, "more": True}
    assert await enforce_retention(context, LONG) == {"removed": len(over) + 2}

    assert await rows_of(context, messages) == {row["id"]: row for row in kept}
    assert await rows_of(context, message_archive) == {archived[-1]["id"]: archived[-1]}
    assert await enforce_retention(context, LONG) == {"removed": 0}


async def test_what_a_key_answers_for_or_has_just_ended_is_kept(context: AgentContext) -> None:
    (place,) = await _keeping(context, short=1)
    just, replayed, gone = (message(State.completed, NOW - age, **place) for age in (HOUR // 60, HOUR, HOUR))
    await put(context, messages, [just, replayed, gone])
    windows = {replayed["id"]: NOW + HOUR, gone["id"]: NOW - HOUR}
    keys = [
        place | {"key_hash": f"{n:064x}", "message_id": of, "digest": "d" * 64, "expires_at": end}
        for n, (of, end) in enumerate(windows.items())
    ]
    await put(context, idempotency, keys)
    assert await enforce_retention(context, LONG) == {"removed": 1}
    assert (await rows_of(context, messages)).keys() == {just["id"], replayed["id"]}
