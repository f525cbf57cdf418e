"""Holds the audit's rows against their hashes, their numbers, and the checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.audit.chain import AuditRow, Link, pruned_by
from scaiqueue.rows import audit as rows

ROWS = 200
MOST_FAULTS = 100


class Fault(msgspec.Struct, frozen=True):
    """`kind` is changed, misplaced, missing, cut_off or rewritten; `seq` the row's number."""

    kind: str
    seq: int
    means: str


class Verdict(msgspec.Struct):
    """`last`: where the chain ends, or the look did, for the next. At most MOST_FAULTS faults are told."""

    rows: int = 0
    calls: int = 0
    first: int = 0
    ended: bool = False
    last: Link = Link()
    faults: list[Fault] = []

    @property
    def whole(self) -> bool:
        return not self.faults

    def add(self, kind: str, seq: int, means: str) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(Fault(kind, seq, means))


async def verify(
    engine: AsyncEngine, *, since: Link | None = None, marks: Sequence[Link] = (), most: int = 0
) -> Verdict:
    """Walk the chain: all of it, or from the row of `since` on, and at least `most` rows if that is not 0.
    `marks`: places that were written down elsewhere, held against the rows like the checkpoints."""
    verdict = Verdict()
    if since is not None:
        marks = (*marks, since)
    start = since.seq if since else 0
    known = {one.seq: one.hash for one in await rows.checkpoints(engine, start)}
    known |= {mark.seq: mark.hash for mark in marks}
    last: Link | None = None
    begin, pruned = Link(), set[str]()
    while True:
        found = await rows.after(engine, last.seq if last else max(start - 1, 0), ROWS)
        for row in found:
            if last is None:
                last = begin = Link(row.seq - 1, row.prev_hash)
                verdict.first = row.seq
            _hold(verdict, row, last, known)
            pruned |= pruned_by(row)
            last = row.link
            verdict.rows += 1
            verdict.calls += row.calls
        verdict.ended = len(found) < ROWS
        if verdict.ended or 0 < most <= verdict.rows:
            break
    verdict.last = last or Link()
    _hold_ends(verdict, begin, since, pruned, known)
    return verdict


def _hold(verdict: Verdict, row: AuditRow, last: Link, known: dict[int, str]) -> None:
    if row.seq != last.seq + 1:
        verdict.add("missing", last.seq + 1, f"after row {last.seq} comes row {row.seq}")
    elif row.prev_hash != last.hash:
        verdict.add("misplaced", row.seq, f"row {row.seq} was not written after row {last.seq}")
    if not row.holds:
        verdict.add("changed", row.seq, f"row {row.seq} is not what its hash was made of")
    elif known.get(row.seq, row.hash) != row.hash:
        verdict.add("rewritten", row.seq, f"a checkpoint has seen another row {row.seq}")


def _hold_ends(
    verdict: Verdict, begin: Link, since: Link | None, pruned: set[str], known: dict[int, str]
) -> None:
    """The first row must be the one asked for, the very first, or follow what retention deleted; and the
    last must not be before a checkpoint."""
    asked = since is not None and begin.seq == since.seq - 1
    if verdict.ended and not asked and begin != Link() and str(begin) not in pruned:
        verdict.add("missing", begin.seq, f"the rows begin at {verdict.first}, and none says why")
    for seq in sorted(seq for seq in known if verdict.ended and seq > verdict.last.seq):
        verdict.add("cut_off", seq, f"the rows end at {verdict.last.seq}, a checkpoint has seen row {seq}")
