"""Names what is wrong with a message, from what index and rows say of it."""

from __future__ import annotations

from collections.abc import Iterator

from scaiqueue.integrity.kinds import Kind
from scaiqueue.integrity.snapshot import Seen, Snapshot
from scaiqueue.queueing.depths import NO_DEADLINE, RANK_SPAN, TOP_RANK
from scaiqueue.records import Flag, Record, State
from scaiqueue.rows.integrity import KnownRow
from scaiqueue.rows.restorable import LIVE_STATES

HOME = {
    State.scheduled: "scheduled",
    State.pending: "pending",
    State.claimed: "claimed",
    State.awaiting_review: "review",
}
# Also where the persister that committed it died, and another one takes its shard over.
FORGOTTEN_WITHIN_MS = 30_000
Verdict = tuple[Kind, str, str]
"""Kind, the queue it concerns, and what was found."""


def judge_index(seen: Seen, snapshot: Snapshot) -> Iterator[Verdict]:
    """What the index says about a message, against itself."""
    if seen.unreadable:
        yield Kind.unreadable, "", "the state record"
    elif seen.record is None:
        for slug, name in seen.scores:
            kind = Kind.lease_without_claim if name == "claimed" else Kind.unknown_member
            yield kind, slug, f"in {name}, without a record"
        parts = [name for name in ("body", "overlay", "outcome") if getattr(seen, name)]
        if parts and not seen.scores:
            yield Kind.part_orphan, "", ", ".join(parts)
    else:
        yield from _places(seen, seen.record, snapshot)
        yield from _parts(seen, seen.record)
        yield from _counters(seen.record, snapshot)


def _places(seen: Seen, record: Record, snapshot: Snapshot) -> Iterator[Verdict]:
    home = HOME.get(State(record.state))
    for slug, name in seen.scores:
        if (slug, name) == (record.queue, home) or (slug == record.queue and name == "expiry" and home):
            continue
        kind = Kind.lease_without_claim if name == "claimed" else Kind.misplaced
        yield kind, slug, f"in {name} of {slug}; {State(record.state).name} in {record.queue}"
    if home is None:
        return
    if record.queue not in snapshot.orderings:
        yield Kind.queue_unknown, record.queue, f"no settings of {record.queue}"
        return
    found = seen.scores.get((record.queue, home))
    if found is None:
        yield Kind.unplaced, record.queue, f"not in {home} of {record.queue}"
    elif not _right_score(found, record, home, snapshot.orderings[record.queue]):
        yield Kind.wrong_score, record.queue, f"{found:.0f} in {home}"
    expiry = seen.scores.get((record.queue, "expiry"))
    expected = record.expires_at if home != "claimed" and record.expires_at else None
    if expiry != expected:
        yield Kind.wrong_expiry, record.queue, f"{expiry} in expiry, {expected} in the record"


def _right_score(score: float, record: Record, home: str, ordering: str) -> bool:
    if home != "pending":
        return score == record.due_at
    if ordering == "priority":
        # Aging raises the rank in the index alone.
        rank = TOP_RANK - score // RANK_SPAN
        return record.rank <= rank <= TOP_RANK and score % RANK_SPAN == record.seq % RANK_SPAN
    if ordering == "deadline":
        return score == (
            record.deadline * 2048 + record.seq % 2048 if record.deadline else NO_DEADLINE + record.seq
        )
    return score == record.seq


def _parts(seen: Seen, record: Record) -> Iterator[Verdict]:
    if not seen.body and not State(record.state).terminal:
        yield Kind.body_missing, record.queue, "no envelope"
    for flag, there in ((Flag.overlay, seen.overlay), (Flag.outcome, seen.outcome)):
        if record.flags & flag and not there:
            yield Kind.part_missing, record.queue, f"no {flag.name}"


def _counters(record: Record, snapshot: Snapshot) -> Iterator[Verdict]:
    if record.seq > snapshot.seq:
        yield Kind.seq_behind, "", f"gave out {record.seq}, stands at {snapshot.seq}"
    epoch, _, counter = record.token.partition(".")
    if counter and int(epoch) == snapshot.epoch and int(counter) > snapshot.token:
        yield Kind.token_behind, "", f"gave out {record.token}, stands at {snapshot.token}"


def judge_rows(seen: Seen, row: KnownRow | None, position: tuple[int, int], now_ms: int) -> Iterator[Verdict]:
    """What the rows say about a message, against the index. The rows were read after it, at `position` or
    later; what the journal has still to bring is not judged."""
    record = seen.record
    if record is None:
        if row is not None and row.state in LIVE_STATES and not seen.unreadable:
            yield Kind.not_indexed, row.queue, f"the row is {State(row.state).name} at {row.version}"
    elif row is not None and row.version > record.version:
        yield Kind.index_behind, record.queue, f"row at {row.version}, record at {record.version}"
    elif record.version > position:
        return
    elif row is None:
        yield Kind.row_missing, record.queue, f"record at {record.version}"
    elif row.version < record.version:
        yield Kind.row_behind, record.queue, f"row at {row.version}, record at {record.version}"
    elif (row.state, row.queue, row.attempts) != (record.state, record.queue, record.attempts):
        yield Kind.row_differs, record.queue, f"at {record.version}"
    elif State(record.state).terminal and record.updated_at < now_ms - FORGOTTEN_WITHIN_MS:
        yield Kind.not_forgotten, record.queue, f"{State(record.state).name} at {record.version}"
