"""Fills the sets of a queue from its rows, page by page, inside the row store."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Select, and_, case, insert, literal, not_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from scaiqueue.fallback.members import FILLED, Kind, Queue
from scaiqueue.fallback.rules import NO_DEADLINE, RANK_SPAN, TOP_RANK, Rules
from scaiqueue.records import Flag, State
from scaiqueue.rows.engine import is_sqlite
from scaiqueue.rows.tables import fallback_members, fallback_queues
from scaiqueue.rows.tables import messages as table

PAGE = 20_000
_FIRST_STATE, _LAST_STATE = State.scheduled.value, State.awaiting_review.value
_c = table.c


async def fill(conn: AsyncConnection, queue: Queue, rules: Rules, epoch: int, now: int) -> bool:
    """One page of the queue's messages into its sets; True when these are whole. The shard must be locked."""
    marks = fallback_queues.c
    marker = and_(marks.term == queue.term, marks.scope_id == queue.scope_id, marks.queue == queue.slug)
    found = (await conn.execute(select(marks.filled_state, marks.filled_to).where(marker))).first()
    if found is None:
        begun = {"filled_state": _FIRST_STATE, "filled_to": ""}
        await conn.execute(insert(fallback_queues).values(**_of(queue), **begun))
    state, after = found or (_FIRST_STATE, "")
    if state == FILLED:
        return True
    page = [_c.scope_id == queue.scope_id, _c.queue == queue.slug, _c.state == state, _c.id > after]
    last = select(_c.id).where(*page).order_by(_c.id).limit(1).offset(PAGE - 1)
    upto = (await conn.execute(last)).scalar_one_or_none()
    if upto is not None:
        page.append(_c.id <= upto)
    for query in _members(queue, rules, epoch, now):
        # What a transition has placed already stands as it would be placed here.
        ignoring = insert(fallback_members).prefix_with("OR IGNORE" if is_sqlite(conn) else "IGNORE")
        await conn.execute(ignoring.from_select(_COLUMNS, query.where(*page)))
    if upto is None:
        state, upto = (state + 1, "") if state < _LAST_STATE else (FILLED, "")
    await conn.execute(update(fallback_queues).where(marker).values(filled_state=state, filled_to=upto))
    return bool(state == FILLED)


def _of(queue: Queue) -> dict[str, object]:
    return {"term": queue.term, "scope_id": queue.scope_id, "queue": queue.slug}


_COLUMNS = ["term", "message_id", "kind", "scope_id", "queue", "score"]


def _members(queue: Queue, rules: Rules, epoch: int, now: int) -> list[Select[tuple[object, ...]]]:
    """As `members_of` has it for one record, after `void_if_stale`."""
    stale = and_(_c.state == State.claimed.value, not_(_c.token.like(f"{epoch}.%")))
    cancelled = _c.flags.op("&")(Flag.cancel_requested.value) != 0
    void = and_(stale, not_(cancelled))
    pending = or_(_c.state == State.pending.value, void)
    held = and_(_c.state == State.claimed.value, not_(void))
    kind = case(
        (_c.state == State.scheduled.value, Kind.scheduled.value),
        (_c.state == State.claimed.value, Kind.claimed.value),
        else_=Kind.review.value,
    )

    def member(kind: ColumnElement[int], score: ColumnElement[int]) -> Select[tuple[object, ...]]:
        return select(literal(queue.term), _c.id, kind, _c.scope_id, _c.queue, score)

    return [
        member(literal(Kind.pending.value), _score(rules, now)).where(pending),
        member(kind, case((stale, 0), else_=_c.due_at)).where(not_(pending)),
        member(literal(Kind.expiry.value), _c.expires_at).where(_c.expires_at > 0, not_(held)),
    ]


def _score(rules: Rules, now: int) -> ColumnElement[int]:
    """As `Rules.score`."""
    if rules.ordering == "priority":
        return (TOP_RANK - _rank(rules, now)) * RANK_SPAN + _c.seq % RANK_SPAN
    if rules.ordering == "deadline":
        return case((_c.deadline > 0, _c.deadline * 2048 + _c.seq % 2048), else_=NO_DEADLINE + _c.seq)
    return _c.seq


def _rank(rules: Rules, now: int) -> ColumnElement[int]:
    """As `Rules.rank`."""
    rank: ColumnElement[int] = _c.priority_rank
    if not rules.aging:
        return rank
    after, step, every = map(int, rules.aging.split())
    over = literal(now - after) - _c.created_at
    raised = rank + step * (1 + over // every)
    return case((over < 0, rank), (raised > TOP_RANK, TOP_RANK), else_=raised)
