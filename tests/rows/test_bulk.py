"""The bulk statements: exact bytes in and out, and the rules of an update."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.records import State, Version
from scaiqueue.rows import positions, tables
from scaiqueue.rows.bulk import (
    HISTORY_CAP,
    BulkWriter,
    Change,
    ChangedMessage,
    EventRow,
    Heading,
    IdempotencyRow,
    NewMessage,
    RowSet,
    Written,
)
from scaiqueue.rows.bulk_mariadb import MariaDbBulk
from scaiqueue.rows.bulk_sqlite import SqliteBulk
from scaiqueue.rows.engine import is_sqlite, open_engine, reading
from scaiqueue.rows.migrate import upgrade
from scaiqueue.rows.positions import Step
from scaiqueue.rows.rates import Spot

NASTY = 'it\'s a \\ "test" %s %% :name ; -- 🦊 \u2028 \n\t\x01 $1 ?'
MESSAGE_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


def change(**values: object) -> Change:
    base = Change(
        queue="orders", state=State.pending, attempts=0, priority_rank=2500, deadline=0, expires_at=0,
        due_at=0, max_retries=-1, flags=0, token="", holder="", verb="", response=b"", failure_reason="",
        origin="[]", overlay="", updated_at=1000, history="[1],", history_count=1, touched_epoch=1,
        touched_n=5,
    )  # fmt: skip
    return base._replace(**values)  # type: ignore[arg-type]


def new(
    of: Change, message_id: str = MESSAGE_ID, *, body: bytes = b"{}", seq: int = 7, **heading: object
) -> NewMessage:
    base = Heading("default", "s" * 36, 3, "order.created", "c-1", "src", '{"type":"order.created"}')
    return NewMessage(message_id, seq, 900, body, of, base._replace(**heading))  # type: ignore[arg-type]


def row_of(message: NewMessage) -> dict[str, object]:
    """The row as it stands after the insert."""
    own = {name: getattr(message, name) for name in ("id", "seq", "created_at", "body")}
    return {**own, **message.change._asdict(), **message.heading._asdict(), "history_skipped": 0}


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
    first = change(
        holder=holder, failure_reason=NASTY, overlay=NASTY, response=body, history=NASTY, token="1.7"
    )
    row = new(first, message_type=NASTY, correlation_id=NASTY, header=NASTY, body=body)
    async with engine.begin() as conn:
        await bulk.insert_messages(conn, [row])
    assert await stored(engine) == row_of(row)
    newer = first._replace(touched_n=6, response=body + b"'", holder=NASTY * 2, history="[2],")
    async with engine.begin() as conn:
        assert await bulk.update_messages(conn, [ChangedMessage(row.id, newer)]) == 1
    changed = {**newer._asdict(), "history": NASTY + "[2],", "history_count": 2}
    assert await stored(engine) == {**row_of(row), **changed}


async def test_an_id_that_exists_is_an_integrity_error(engine: AsyncEngine, bulk: BulkWriter) -> None:
    async with engine.begin() as conn:
        await bulk.insert_messages(conn, [new(change())])
        with pytest.raises(IntegrityError):
            async with conn.begin_nested():
                await bulk.insert_messages(conn, [new(change())])


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
        await bulk.insert_messages(conn, [new(first)])
        both = [ChangedMessage("0" * 36, then), ChangedMessage(MESSAGE_ID, then)]
        assert await bulk.update_messages(conn, both) == found
    row = await stored(engine)
    expected = first if kept else then
    for name in ("state", "attempts", "updated_at", "touched_epoch", "touched_n"):
        assert row[name] == getattr(expected, name), name
    assert row["history"] == ("[1],[2]," if found else "[1],")


IDS = [f"{number:036d}" for number in range(1, 13)]
ENTRY = EventRow(3, 1, 5, "default", "s" * 36, "publish", "orders", NASTY, 1000, NASTY, NASTY)


async def write(engine: AsyncEngine, bulk: BulkWriter, **parts: object) -> Written:
    """One step of shard 3, from (1, 4) to (1, 5), as the persister takes it."""
    rows = RowSet(Step(3, Version(1, 4), Version(1, 5), 7, 1000), [], [], [], [ENTRY], {})
    async with engine.connect() as conn, conn.begin() as transaction:
        written = await bulk.write(conn, rows._replace(**parts))  # type: ignore[arg-type]
        if written is not Written.all:
            await transaction.rollback()
    return written


@pytest.fixture
async def at_four(engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        await positions.create(conn, 3, Version(1, 4), 1)


@pytest.mark.usefixtures("at_four")
async def test_a_batch_is_written_whole(engine: AsyncEngine, bulk: BulkWriter) -> None:
    """Rows that share a change, rows that have one of their own, new ones, and what belongs to them."""
    async with engine.begin() as conn:
        await bulk.insert_messages(conn, [new(change(), name) for name in IDS[:10]])
    shared = change(touched_n=6, holder=NASTY + "\0'", history="[2],", state=State.claimed)
    updates = [ChangedMessage(name, shared) for name in IDS[:7]]
    own = [shared._replace(holder=name, response=NASTY.encode()) for name in IDS[7:10]]
    updates += [ChangedMessage(name, of) for name, of in zip(IDS[7:10], own, strict=True)]
    inserts = [new(change(), name) for name in IDS[10:]]
    counts = {Spot("s" * 36, "orders", "published", 77): 3}
    parts = {"inserts": inserts, "updates": updates, "counts": counts}
    assert await write(engine, bulk, **parts) is Written.all
    assert await write(engine, bulk, events=[]) is Written.moved, "the position is no longer (1, 4)"
    async with reading(engine) as conn:
        found = (await conn.execute(select(tables.messages).order_by(tables.messages.c.id))).mappings().all()
        (rate,) = (await conn.execute(select(tables.rates))).mappings().all()
        (position,) = (await positions.load(conn, [3])).values()
    changes = [*(updated.change for updated in updates), *(row.change for row in inserts)]
    for row, name, of in zip(found, IDS, changes, strict=True):
        merged = of._replace(history="[1],[2],", history_count=2) if name in IDS[:10] else of
        assert dict(row) == row_of(new(merged, name))
    assert (rate["minute"], rate["events"]) == (77, 3)
    assert position == (Version(1, 5), 7)


@pytest.mark.usefixtures("at_four")
@pytest.mark.parametrize("count", [1, 10])
@pytest.mark.parametrize(
    "before",
    [{"touched_epoch": 2}, {"touched_n": 7}, {"state": State.cancelled}, None],
    ids=["newer epoch", "newer entry", "terminal", "missing"],
)
async def test_a_batch_that_meets_something_else_is_not_written(
    engine: AsyncEngine, bulk: BulkWriter, count: int, before: dict[str, object] | None
) -> None:
    """Whether rows share their change or each has its own. SQLite looks at versions while it writes."""
    ids = IDS[:count]
    odd = [] if before is None else [new(change(**before), ids[0])]
    rows = odd + [new(change(), name) for name in ids[1:]]
    if rows:
        async with engine.begin() as conn:
            await bulk.insert_messages(conn, rows)
    then = change(touched_n=6, history="[2],", state=State.claimed)
    written = await write(engine, bulk, updates=[ChangedMessage(name, then) for name in ids])
    refused = not is_sqlite(engine) or before is None or "state" in before
    assert written is (Written.unsure if refused else Written.all)
    async with reading(engine) as conn:
        histories = (await conn.execute(select(tables.messages.c.history))).scalars().all()
        (position,) = (await positions.load(conn, [3])).values()
    assert set(histories) <= {"[1]," if refused else "[1],[2],"}
    assert position.version == ((1, 4) if refused else (1, 5))


@pytest.mark.usefixtures("at_four")
async def test_an_id_that_may_be_archived_is_not_written(engine: AsyncEngine, bulk: BulkWriter) -> None:
    async with engine.begin() as conn:
        await conn.execute(tables.message_archive.insert().values(row_of(new(change(), IDS[5]))))
    assert await write(engine, bulk, inserts=[new(change(), IDS[5])]) is Written.unsure
    assert await write(engine, bulk, inserts=[new(change(), IDS[6])]) is Written.all


@pytest.mark.parametrize("count", [1, 10])
async def test_history_is_capped_with_a_count(engine: AsyncEngine, bulk: BulkWriter, count: int) -> None:
    async with engine.begin() as conn:
        full = change(history_count=HISTORY_CAP - 1)
        await bulk.insert_messages(conn, [new(full, name) for name in IDS[:count]])
        for n in (6, 7, 8):
            then = change(touched_n=n, history=f"[{n}],", state=State.claimed)
            await bulk.update_messages(conn, [ChangedMessage(name, then) for name in IDS[:count]])
    async with reading(engine) as conn:
        rows = (await conn.execute(select(tables.messages))).mappings().all()
    assert len(rows) == count
    for row in rows:
        assert (row["history"], row["history_count"], row["history_skipped"]) == ("[1],[6],", HISTORY_CAP, 2)
        assert (row["touched_n"], row["state"]) == (8, State.claimed)


async def test_many_rows_and_large_bodies_go_in_several_statements(
    engine: AsyncEngine, bulk: BulkWriter
) -> None:
    ids = [f"{number:036d}" for number in range(300)]
    body = b"\x00" * 40_000
    async with engine.begin() as conn:
        await bulk.insert_messages(conn, [new(change(), name, body=body) for name in ids])
        updates = [
            ChangedMessage(name, change(touched_n=6, response=body, state=State.completed)) for name in ids
        ]
        assert await bulk.update_messages(conn, updates) == len(ids)
        states = await conn.execute(select(tables.messages.c.state).distinct())
        assert states.scalars().all() == [State.completed]


async def test_events_and_idempotency_rows(engine: AsyncEngine, bulk: BulkWriter) -> None:
    event = ENTRY
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
