"""The bulk statements: exact bytes in and out, and the rules of an update."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.records import State
from scaiqueue.rows import tables
from scaiqueue.rows.bulk import HISTORY_CAP, BulkWriter, Change, EventRow, Fixed, IdempotencyRow, NewMessage
from scaiqueue.rows.bulk_mariadb import MariaDbBulk
from scaiqueue.rows.bulk_sqlite import SqliteBulk
from scaiqueue.rows.engine import is_sqlite, open_engine, reading
from scaiqueue.rows.migrate import upgrade

NASTY = 'it\'s a \\ "test" %s %% :name ; -- 🦊 \u2028 \n\t\x01 $1 ?'
MESSAGE_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


def change(**values: object) -> Change:
    base = Change(
        id=MESSAGE_ID, queue="orders", state=State.pending, attempts=0, seq=7, priority_rank=2500, deadline=0,
        expires_at=0, due_at=0, max_retries=-1, flags=0, token="", holder="", verb="", response=b"",
        failure_reason="", origin="[]", overlay="", updated_at=1000, history="[1],", history_count=1,
        touched_epoch=1, touched_n=5,
    )  # fmt: skip
    return base._replace(**values)  # type: ignore[arg-type]


def fixed(**values: object) -> Fixed:
    base = Fixed(
        "default", "s" * 36, 3, "order.created", "c-1", "src", 900, '{"type":"order.created"}', b"{}"
    )
    return base._replace(**values)  # type: ignore[arg-type]


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    await upgrade(database_url)
    engine = open_engine(database_url)
    yield engine
    await engine.dispose()


@pytest.fixture
def bulk(engine: AsyncEngine) -> BulkWriter:
    return SqliteBulk() if is_sqlite(engine) else MariaDbBulk()


async def stored(engine: AsyncEngine) -> dict[str, object]:
    async with reading(engine) as conn:
        return dict((await conn.execute(select(tables.messages))).mappings().one())


@pytest.mark.parametrize("extra", ["", "\0", "\0,0,x\0"])
async def test_every_byte_comes_back_as_it_went_in(engine: AsyncEngine, bulk: BulkWriter, extra: str) -> None:
    body = bytes(range(256)) * 40 + NASTY.encode()
    holder = NASTY + extra
    row = NewMessage(
        change(holder=holder, failure_reason=NASTY, overlay=NASTY, response=body, history=NASTY, token="1.7"),
        fixed(message_type=NASTY, correlation_id=NASTY, header=NASTY, body=body),
    )
    async with engine.begin() as conn:
        await bulk.insert_messages(conn, [row])
    expected = {**row.change._asdict(), **row.fixed._asdict(), "history_skipped": 0}
    assert await stored(engine) == expected
    newer = row.change._replace(touched_n=6, response=body + b"'", holder=NASTY * 2, history="[2],")
    async with engine.begin() as conn:
        assert await bulk.update_messages(conn, [newer]) == 1
    changed = {**newer._asdict(), "history": NASTY + "[2],", "history_count": 2}
    assert await stored(engine) == {**expected, **changed}


async def test_an_id_that_exists_is_an_integrity_error(engine: AsyncEngine, bulk: BulkWriter) -> None:
    async with engine.begin() as conn:
        await bulk.insert_messages(conn, [NewMessage(change(), fixed())])
        with pytest.raises(IntegrityError):
            async with conn.begin_nested():
                await bulk.insert_messages(conn, [NewMessage(change(), fixed())])


@pytest.mark.parametrize(
    ("before", "after", "found", "kept"),
    [
        ({}, {"touched_n": 4, "state": State.claimed}, 1, True),
        ({}, {"touched_n": 5, "state": State.claimed}, 1, True),
        ({}, {"touched_n": 6, "state": State.claimed}, 1, False),
        ({}, {"touched_epoch": 2, "touched_n": 0, "state": State.claimed}, 1, False),
        ({"touched_epoch": 2}, {"touched_n": 99, "state": State.claimed}, 1, True),
        ({"state": State.completed}, {"touched_n": 6, "state": State.pending}, 0, True),
        ({"state": State.completed}, {"touched_epoch": 3, "state": State.expired}, 0, True),
        ({"state": State.completed}, {"touched_n": 6, "state": State.completed}, 1, False),
        ({"state": State.transferring}, {"touched_n": 6, "state": State.completed}, 1, False),
    ],
)
async def test_an_update_never_goes_back(
    engine: AsyncEngine,
    bulk: BulkWriter,
    before: dict[str, object],
    after: dict[str, object],
    found: int,
    kept: bool,
) -> None:
    first = change(**before)
    then = change(history="[2],", attempts=9, updated_at=2000, **after)
    async with engine.begin() as conn:
        await bulk.insert_messages(conn, [NewMessage(first, fixed())])
        unknown = then._replace(id="0" * 36)
        assert await bulk.update_messages(conn, [unknown, then]) == found
    by_update = await stored(engine)
    async with engine.begin() as conn:
        await conn.execute(tables.messages.delete())
        await bulk.insert_messages(conn, [NewMessage(first, fixed())])
        assert await bulk.update_all(conn, [then]) is bool(found)
    row = await stored(engine)
    assert row == by_update
    expected = first if kept else then
    for name in ("state", "attempts", "updated_at", "touched_epoch", "touched_n"):
        assert row[name] == getattr(expected, name), name
    assert row["history"] == ("[1],[2]," if found else "[1],")


async def test_rows_that_should_all_exist_are_not_made_of_an_update(
    engine: AsyncEngine, bulk: BulkWriter
) -> None:
    ids = [f"{number:036d}" for number in range(3)]
    async with engine.begin() as conn:
        await bulk.insert_messages(conn, [NewMessage(change(id=i), fixed()) for i in ids[:2]])
    then = [change(id=i, touched_n=6, holder=NASTY + "\0'", history="[2],") for i in ids]
    async with engine.connect() as conn:
        assert not await bulk.update_all(conn, then)
        await conn.rollback()
    async with engine.begin() as conn:
        assert await bulk.update_all(conn, then[:2])
        rows = (await conn.execute(select(tables.messages).order_by(tables.messages.c.id))).mappings().all()
    assert [row["id"] for row in rows] == ids[:2]
    for row, wanted in zip(rows, then, strict=False):
        merged = wanted._replace(history="[1],[2],", history_count=2)
        assert dict(row) == {**merged._asdict(), **fixed()._asdict(), "history_skipped": 0}


@pytest.mark.parametrize("of_all", [False, True])
async def test_history_is_capped_with_a_count(engine: AsyncEngine, bulk: BulkWriter, of_all: bool) -> None:
    update = bulk.update_all if of_all else bulk.update_messages
    async with engine.begin() as conn:
        full = change(history_count=HISTORY_CAP - 1)
        await bulk.insert_messages(conn, [NewMessage(full, fixed())])
        for n in (6, 7, 8):
            await update(conn, [change(touched_n=n, history=f"[{n}],", state=State.claimed)])
    row = await stored(engine)
    assert (row["history"], row["history_count"], row["history_skipped"]) == ("[1],[6],", HISTORY_CAP, 2)
    assert (row["touched_n"], row["state"]) == (8, State.claimed)


async def test_many_rows_and_large_bodies_go_in_several_statements(
    engine: AsyncEngine, bulk: BulkWriter
) -> None:
    ids = [f"{number:036d}" for number in range(300)]
    body = b"\x00" * 40_000
    async with engine.begin() as conn:
        await bulk.insert_messages(conn, [NewMessage(change(id=i), fixed(body=body)) for i in ids])
        updates = [change(id=i, touched_n=6, response=body, state=State.completed) for i in ids]
        assert await bulk.update_messages(conn, updates) == len(ids)
        states = await conn.execute(select(tables.messages.c.state).distinct())
        assert states.scalars().all() == [State.completed]


async def test_events_and_idempotency_rows(engine: AsyncEngine, bulk: BulkWriter) -> None:
    event = EventRow(3, 1, 5, "default", "s" * 36, "publish", "orders", NASTY, 1000, NASTY, NASTY)
    first = IdempotencyRow("s" * 36, "orders", "k" * 64, MESSAGE_ID, "d" * 64, 5000)
    second = first._replace(message_id="0" * 36, expires_at=9000)
    async with engine.begin() as conn:
        await bulk.insert_events(conn, [event, event._replace(n=6)])
        await bulk.upsert_idempotency(conn, [first])
        await bulk.upsert_idempotency(conn, [second])
        found = (await conn.execute(select(tables.events).order_by(tables.events.c.n))).mappings().all()
        assert [dict(row) for row in found] == [event._asdict(), event._replace(n=6)._asdict()]
        kept = (await conn.execute(select(tables.idempotency))).mappings().all()
        assert [dict(row) for row in kept] == [second._asdict()]
