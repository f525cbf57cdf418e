"""The system queues `_integrity` and `_corrections`: what the checker wrote down and the
audit's checkpoints, read as messages."""

from __future__ import annotations

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.integrity.kinds import Kind
from scaiqueue.queueing.directory import ScopeEntry
from scaiqueue.queueing.header import DEFAULT_SCORE, Header
from scaiqueue.queueing.message import NO_OUTCOME, Message, Place, fields_of
from scaiqueue.records import Record, State
from scaiqueue.rows import audit, integrity
from scaiqueue.rows.audit import Checkpoint
from scaiqueue.rows.integrity import Noted

FINDINGS, CORRECTIONS = "_integrity", "_corrections"
_NORMAL = 2000 + DEFAULT_SCORE


async def page(
    engine: AsyncEngine, scope: ScopeEntry, place: Place, slug: str, before: str, limit: int
) -> tuple[list[Message], bool]:
    """The newest before `before`. A finding is pending until it is corrected, a correction is completed."""
    found, more = await integrity.page(
        engine, scope.id, scope.keys.shard.number, before, limit, corrected=slug == CORRECTIONS
    )
    shown = [_message(place, slug, one) for one in found]
    if slug == FINDINGS:
        marks = await audit.checkpoint_page(engine, before, limit + 1)
        shown = sorted([*shown, *(_checkpoint(place, one) for one in marks)], key=_id, reverse=True)
        more = more or len(shown) > limit
    return shown[:limit], more


def _id(message: Message) -> str:
    return message.id


def _checkpoint(place: Place, one: Checkpoint) -> Message:
    """Of the audit, for every scope: up to that row its chain was whole."""
    body = msgspec.json.encode({"seq": one.seq, "hash": one.hash})
    record = ended_record(FINDINGS, one.at)
    return Message(**fields_of(place, one.id, record, Header(type="audit.checkpoint"), body, NO_OUTCOME))


def _message(place: Place, slug: str, one: Noted) -> Message:
    correction = slug == CORRECTIONS
    header = Header(type=f"{'correction' if correction else 'divergence'}.{one.kind}")
    body = {name: getattr(one, name) for name in ("kind", "shard", "queue", "subject", "detail", "looks")}
    if one.kind in Kind.__members__:
        body["means"] = Kind[one.kind].value.means
    if one.corrected_at:
        body["correction"] = one.correction
    record = _record(
        slug,
        State.completed if one.corrected_at else State.pending,
        one.corrected_at if correction else one.found_at,
        one.corrected_at or one.seen_at,
    )
    return Message(**fields_of(place, one.id, record, header, msgspec.json.encode(body), NO_OUTCOME))


def ended_record(slug: str, at: int) -> Record:
    """Of what is only told of, as it happened."""
    return _record(slug, State.completed, at, at)


def _record(slug: str, state: State, created_at: int, updated_at: int) -> Record:
    return Record(
        queue=slug,
        state=state,
        attempts=0,
        seq=0,
        rank=_NORMAL,
        deadline=0,
        expires_at=0,
        size=0,
        token="",
        holder="",
        verb="",
        touched_epoch=0,
        touched_n=0,
        max_retries=0,
        created_at=created_at,
        flags=0,
        due_at=0,
        updated_at=updated_at,
    )
