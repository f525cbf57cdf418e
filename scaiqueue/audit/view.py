"""The system queue `_audit`: the calls on a scope, read as messages."""

from __future__ import annotations

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.audit.search import Found, Place, Search
from scaiqueue.integrity.view import ended_record
from scaiqueue.queueing.directory import ScopeEntry
from scaiqueue.queueing.header import Header
from scaiqueue.queueing.message import NO_OUTCOME, Message, fields_of
from scaiqueue.queueing.message import Place as MessagePlace

CALLS = "_audit"
_SEQ_BITS = 62


async def page(
    engine: AsyncEngine, scope: ScopeEntry, place: MessagePlace, before: str, limit: int
) -> tuple[list[Message], bool]:
    """The newest before the message `before`, and whether there are more."""
    search = Search(tenant_id=scope.row.tenant_id, scope_id=scope.id)
    found, go_on = await search.page(engine, _place_of(before) if before else None, limit)
    return [_message(place, one) for one in found], go_on is not None and len(found) == limit


def _message(place: MessagePlace, found: Found) -> Message:
    entry = found.entry
    body = {
        "actor": entry.actor or None,
        "address": entry.address or None,
        "request_id": entry.request_id or None,
        "queue": entry.queue or None,
        "message_ids": entry.message_ids,
        "status": entry.status,
        "outcome": entry.outcome,
        "refused_items": entry.refused,
        "calls": entry.calls,
    }
    record = ended_record(CALLS, entry.at)
    header = Header(type=f"audit.{entry.event}")
    return Message(**fields_of(place, _id_of(found), record, header, msgspec.json.encode(body), NO_OUTCOME))


def _id_of(found: Found) -> str:
    """A UUIDv7 that says where the entry stands: its time, its index, its row."""
    tail = 2 << _SEQ_BITS | found.place.seq
    number = found.entry.at << 80 | (7 << 12 | found.place.index) << 64 | tail
    text = f"{number:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _place_of(message_id: str) -> Place:
    """Of any text; what is no such id stands before everything."""
    try:
        number = int(message_id.replace("-", ""), 16)
    except ValueError:
        return Place(0, 0)
    return Place(number & (1 << _SEQ_BITS) - 1, number >> 64 & 0xFFF)
