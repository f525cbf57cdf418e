"""Makes events from rows, a page at a time, bounded in number and size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from msgspec import UNSET
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scaiqueue.events.envelope import Told, envelope, event_id, message_payload
from scaiqueue.events.kinds import COMPLETED
from scaiqueue.events.transitions import Event, events_of
from scaiqueue.keys import ScopeKeys
from scaiqueue.queueing.message import spliced_response
from scaiqueue.records import Version
from scaiqueue.rows import events, message_facts
from scaiqueue.rows.engine import reading
from scaiqueue.rows.events import FIRST, ROWS, Place, StoredEvents
from scaiqueue.rows.message_facts import Facts

PAGE_EVENTS = 500
PAGE_BYTES = 2**20
ANSWERED = (COMPLETED, "hitl.decided")
GONE = Facts("", None, 0)

Wanted = Callable[[Event], bool]


class Page(NamedTuple):
    """Events behind a place; `reached` is where the next page begins, `more`: there is one already."""

    told: list[Told]
    reached: Place
    more: bool


def everything(_event: Event) -> bool:
    return True


class EventReader:
    """Reads on connections of its own, so that listeners never wait in the queue's way, nor it in theirs."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def end(self, shard: int) -> Place:
        """Behind all that is in the rows now."""
        async with reading(self._engine) as conn:
            return (await events.ends(conn, [shard])).get(shard, FIRST)

    async def horizon(self, shard: int) -> Version | None:
        async with reading(self._engine) as conn:
            return await events.horizon(conn, shard)

    async def of_scope(self, scope: ScopeKeys, after: Place) -> Page:
        """All events of a scope."""
        async with reading(self._engine) as conn:
            end = (await events.ends(conn, [scope.shard.number])).get(scope.shard.number, FIRST)
            if end <= after:
                return Page([], after, False)
            rows = await events.of_scope(conn, scope.scope_id, after, end)
            return await self._page(conn, rows, after, end, everything)

    async def of_shard(self, shard: int, tenant: str, after: Place, end: Place, wanted: Wanted) -> Page:
        """Those of a tenant's events in a shard that are wanted."""
        async with reading(self._engine) as conn:
            rows = await events.of_shard(conn, shard, tenant, after, end)
            return await self._page(conn, rows, after, end, wanted)

    async def one(self, shard: int, at: Place) -> Told | None:
        """None: it is kept no longer."""
        async with reading(self._engine) as conn:
            row = await events.at_place(conn, shard, at)
            found = [] if row is None else [e for e in events_of(row, at.part - 1) if e.part == at.part]
            made = await self._told(conn, found)
        return made[0] if made else None

    async def changed_in(self, scope: ScopeKeys, after: Place) -> tuple[set[str], Place, bool]:
        """Ids of the messages of a scope that had transitions behind a place; the rest is as of a Page."""
        async with reading(self._engine) as conn:
            end = (await events.ends(conn, [scope.shard.number])).get(scope.shard.number, FIRST)
            if end <= after:
                return set(), after, False
            rows = await events.of_scope(conn, scope.scope_id, after, end)
        found = {event.message_id for row in rows for event in events_of(row)}
        more = len(rows) == ROWS
        return found, Place(*rows[-1][:3]) if more else end, more

    async def _page(
        self,
        conn: AsyncConnection,
        rows: Sequence[StoredEvents],
        after: Place,
        end: Place,
        wanted: Wanted,
    ) -> Page:
        chosen: list[Event] = []
        for event in _behind(rows, after):
            if wanted(event):
                if len(chosen) == PAGE_EVENTS:
                    return await self._cut(conn, chosen, chosen[-1].place, True)
                chosen.append(event)
        more = len(rows) == ROWS
        return await self._cut(conn, chosen, Place(*rows[-1][:3]) if more else end, more)

    async def _cut(self, conn: AsyncConnection, chosen: list[Event], reached: Place, more: bool) -> Page:
        told = await self._told(conn, chosen)
        if len(told) < len(chosen):
            return Page(told, told[-1].place, True)
        return Page(told, reached, more)

    async def _told(self, conn: AsyncConnection, chosen: Sequence[Event]) -> list[Told]:
        """The first of them, as many as fit; at least one."""
        known = await message_facts.facts(conn, {event.message_id for event in chosen if event.message_id})
        fitting, answered, size = 0, set(), 0
        for event in chosen:
            if event.event_type in ANSWERED and event.message_id not in answered:
                size += known.get(event.message_id, GONE).response_size
                if size > PAGE_BYTES and fitting:
                    break
                answered.add(event.message_id)
            fitting += 1
        responses = await message_facts.responses(conn, answered) if answered else {}
        return [
            _tell(event, known.get(event.message_id, GONE), responses.get(event.message_id))
            for event in chosen[:fitting]
        ]


def _behind(rows: Sequence[StoredEvents], after: Place) -> Iterator[Event]:
    for row in rows:
        yield from events_of(row, after.part if row[:3] == after[:3] else 0)


def _tell(event: Event, facts: Facts, response: bytes | None) -> Told:
    row = event.row
    named = event_id(row.scope_id, row.origin, event.part)
    payload: object = event.payload
    if event.payload is None:
        answer = event.event_type in ANSWERED
        payload = message_payload(
            scope_id=row.scope_id,
            message_id=event.message_id,
            queue=event.queue,
            message_type=facts.message_type or None,
            correlation_id=facts.correlation_id,
            attempts=event.attempts,
            actor=event.actor,
            detail=event.detail,
            response=spliced_response(response or b"") if answer else UNSET,
        )
    body = envelope(event.event_type, named, row.tenant_id, payload, row.at)
    return Told(
        event.place, named, event.event_type, row.scope_id, event.queue, _subject(event),
        facts.correlation_id, row.at, body,
    )  # fmt: skip


def _subject(event: Event) -> str:
    about = event.payload or {}
    return event.message_id or about.get("stream_id") or about.get("queue_id") or event.row.scope_id
