"""Looks for calls in the audit, newest first, a bounded piece at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.audit.chain import AuditRow
from scaiqueue.audit.entry import Entry, decode_entries
from scaiqueue.rows import audit as rows
from scaiqueue.rows.audit import Wanted

ROWS_AT_ONCE = 50
MOST_ROWS = 5_000
MOST_TEXTS = 50
_END = 2**62


class Place(msgspec.Struct, frozen=True, order=True):
    """Of an entry: its row's number, and which of the row's it is."""

    seq: int
    index: int

    def __str__(self) -> str:
        return f"{self.seq}-{self.index}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """Raises ValueError."""
        seq, _, index = text.partition("-")
        return cls(int(seq), int(index))


class Found(msgspec.Struct, frozen=True):
    place: Place
    scope_id: str
    entry: Entry


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """None is no condition. `message_ids`: calls that touched one of them; `queues`: calls on one of them.
    Times in ms."""

    tenant_id: str
    scope_id: str | None = None
    event: str | None = None
    actor: str | None = None
    outcome: str | None = None
    queues: Collection[str] | None = None
    message_ids: Collection[str] | None = None
    since: int | None = None
    until: int | None = None

    async def page(
        self, engine: AsyncEngine, before: Place | None, limit: int
    ) -> tuple[list[Found], Place | None]:
        """At most `limit` calls from before `before`, and where to go on: MOST_ROWS rows are looked at, so a
        page may hold fewer, or none, and not be the last."""
        found: list[Found] = []
        wanted = self._wanted()
        end, looked = (before.seq if before else _END), 0
        while end and looked < MOST_ROWS:
            pages, left = await rows.before(engine, wanted, end, ROWS_AT_ONCE)
            for one in self._in(pages, before):
                found.append(one)
                if len(found) == limit:
                    return found, one.place
            end, looked = left, looked + ROWS_AT_ONCE
        return found, Place(end + 1, 0) if end else None

    def _wanted(self) -> Wanted:
        texts = [] if self.event is None else [f'["{self.event}",']
        texts += [f'"{text}"' for text in (self.actor, self.outcome) if text is not None]
        ids = self.message_ids or ()
        return Wanted(
            tenant_id=self.tenant_id,
            scope_id=self.scope_id,
            texts=texts,
            either=[*ids] if len(ids) <= MOST_TEXTS else [],
            since=self.since,
            until=self.until,
        )

    def _in(self, pages: list[AuditRow], before: Place | None) -> Iterator[Found]:
        for row in pages:
            for index, entry in reversed([*enumerate(decode_entries(row.entries))]):
                place = Place(row.seq, index)
                if (before is None or place < before) and self._takes(entry):
                    yield Found(place, row.scope_id, entry)

    def _takes(self, entry: Entry) -> bool:
        equal = ((self.event, entry.event), (self.actor, entry.actor), (self.outcome, entry.outcome))
        return (
            all(asked is None or asked == is_ for asked, is_ in equal)
            and (self.queues is None or entry.queue in self.queues)
            and (self.message_ids is None or not set(self.message_ids).isdisjoint(entry.message_ids))
            and (self.since is None or entry.at >= self.since)
            and (self.until is None or entry.at < self.until)
        )
