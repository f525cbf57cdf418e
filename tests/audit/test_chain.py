"""The chain on both databases: written by several at once, and every way of tampering found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.audit.chain import Link, Page
from scaiqueue.audit.entry import Entry, encode_entries
from scaiqueue.audit.trail import Trail
from scaiqueue.audit.verify import Verdict, verify
from scaiqueue.rows import audit
from scaiqueue.rows.audit import Appender, Checkpoint
from scaiqueue.rows.engine import open_engine, reading
from scaiqueue.rows.migrate import upgrade
from scaiqueue.rows.tables import audit_log

ID = "0191d2f0-0000-7000-8000-00000000000"


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    await upgrade(database_url)
    engine = open_engine(database_url)
    yield engine
    await engine.dispose()


def _page(number: int) -> Page:
    entry = Entry("publish", number, "key", "127.0.0.1", f"r{number}", "tasks", 201, "OK", f"{ID}{number}")
    return Page("default", ID + "0", number, number, 1, encode_entries([entry]))


async def _written(engine: AsyncEngine, pages: int = 6) -> list[Link]:
    appender = Appender(engine)
    for number in range(1, pages + 1):
        await appender.append([_page(number)])
    return [row.link for row in await audit.after(engine, 0, 100)]


async def _checkpoint(engine: AsyncEngine, link: Link) -> None:
    await audit.add_checkpoint(engine, Checkpoint(id=f"{ID}9", seq=link.seq, hash=link.hash, at=1))


async def _change(engine: AsyncEngine, at: int, **values: Any) -> None:
    async with engine.begin() as conn:
        await conn.execute(update(audit_log).where(audit_log.c.seq == at).values(**values))


async def _remove(engine: AsyncEngine, *seqs: int) -> None:
    async with engine.begin() as conn:
        await conn.execute(delete(audit_log).where(audit_log.c.seq.in_(seqs)))


def _faults(verdict: Verdict) -> list[tuple[str, int]]:
    return [(fault.kind, fault.seq) for fault in verdict.faults]


async def test_tampering_is_found_and_named(engine: AsyncEngine) -> None:
    links = await _written(engine)
    await _checkpoint(engine, links[3])
    whole = await verify(engine)
    assert (whole.whole, whole.rows, whole.calls, whole.last) == (True, 6, 6, links[-1])

    async with reading(engine) as conn:
        kept = [dict(row) for row in (await conn.execute(select(audit_log))).mappings()]

    async def restored() -> None:
        async with engine.begin() as conn:
            await conn.execute(delete(audit_log))
            await conn.execute(audit_log.insert(), kept)

    await _change(engine, 2, entries=kept[1]["entries"].replace("tasks", "other"))
    assert _faults(await verify(engine)) == [("changed", 2)]
    await restored()
    await _change(engine, 5, last_at=99)
    assert _faults(await verify(engine)) == [("changed", 5)]

    await restored()
    await _remove(engine, 3)
    assert _faults(await verify(engine)) == [("missing", 3)]
    await restored()
    await _remove(engine, 1)
    assert _faults(await verify(engine)) == [("missing", 1)]

    await restored()
    for seq, to in ((2, 0), (5, 2), (0, 5)):
        await _change(engine, seq, seq=to)
    found = _faults(await verify(engine))
    assert {("misplaced", 2), ("misplaced", 5)} <= set(found)
    assert {kind for kind, _ in found} == {"misplaced"}

    await restored()
    await _remove(engine, 4, 5, 6)
    assert _faults(await verify(engine)) == [("cut_off", 4)]
    # Written anew after the cut, so that the chain itself holds.
    await Appender(engine).append([_page(7)])
    assert _faults(await verify(engine)) == [("rewritten", 4)]

    await restored()
    await _remove(engine, 5, 6)
    assert (await verify(engine)).whole
    assert _faults(await verify(engine, marks=[links[5]])) == [("cut_off", 6)]


async def test_a_look_goes_on_where_the_last_ended(engine: AsyncEngine) -> None:
    links = await _written(engine, 3)
    assert (await verify(engine, since=links[1])).rows == 2
    await _remove(engine, 2, 3)
    assert _faults(await verify(engine, since=links[1])) == [("cut_off", 2)]
    first = await verify(engine, most=1)
    assert (first.whole, first.rows) == (True, 1)


async def test_what_retention_deleted_is_not_missing(engine: AsyncEngine) -> None:
    links = await _written(engine)
    await _checkpoint(engine, links[1])
    assert await audit.prune(engine, until=4, now=100, limit=2) == 2
    assert await audit.prune(engine, until=4, now=100, limit=2) == 1
    assert await audit.prune(engine, until=4, now=100, limit=2) == 0
    verdict = await verify(engine)
    assert (verdict.whole, verdict.first, verdict.last.seq) == (True, 4, 8)
    await _remove(engine, 4)
    assert _faults(await verify(engine)) == [("missing", 4)]
    # All that is old goes, and what says so stays.
    assert await audit.prune(engine, until=101, now=200, limit=100) == 4
    verdict = await verify(engine)
    assert (verdict.whole, verdict.first, verdict.rows) == (True, 9, 1)


async def test_several_writers_make_one_chain(engine: AsyncEngine) -> None:
    trails = [Trail(engine, 2**20) for _ in range(4)]
    for number in range(40):
        entry = msgspec.convert(("publish", number, "key", "", f"r{number}", "", 201, "OK"), Entry)
        trails[number % 4].add("default", ID + str(number % 3), entry)
        if number % 8 == 7:
            await asyncio.gather(*(trail.write() for trail in trails))
    verdict = await verify(engine)
    assert (verdict.whole, verdict.calls) == (True, 40)


async def test_a_write_whose_answer_was_lost_is_not_repeated(engine: AsyncEngine) -> None:
    appender = Appender(engine)
    await appender.append([_page(1)])
    (row,) = await audit.after(engine, 0, 10)
    # As after a commit whose answer did not come.
    appender.tried = row.link
    await appender.append([_page(1)])
    assert len(await audit.after(engine, 0, 10)) == 1
    await appender.append([_page(2)])
    assert (await verify(engine)).rows == 2


async def test_calls_wait_for_the_row_store_within_a_bound(database_url: str) -> None:
    engine = open_engine(database_url)  # no tables yet: nothing can be written
    trail = Trail(engine, 1000)
    for number in range(5):
        assert not trail.full
        trail.add("default", "", Entry("publish", number, "key", "", "", "", 201, "OK"))
    assert trail.full
    writing = asyncio.create_task(trail.write())
    await upgrade(database_url)
    await writing
    assert not trail.full
    assert (await verify(engine)).calls == 5
    await engine.dispose()


async def test_strangers_can_not_fill_the_row_store(engine: AsyncEngine) -> None:
    trail = Trail(engine, 2**24)
    for number in range(1000):
        trail.add_stranger("", Entry("claim", 1, "", f"10.0.0.{number}", "r", "", 401, "AUTH_TOKEN_MISSING"))
    await trail.write()
    verdict = await verify(engine)
    assert verdict.calls == 1000
    (row,) = await audit.after(engine, 0, 10)
    assert row.entries.count("AUTH_TOKEN_MISSING") == 101
