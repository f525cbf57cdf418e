"""The index's part of an erasure: records and bodies, idempotency keys, and what the journal still holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.erasure.tombstone import Content, erased, redacted, with_parent
from scaiqueue.keys import ScopeKeys
from scaiqueue.persister.journal import RawEntry, after, decode_any
from scaiqueue.persister.watermarks import Watermarks
from scaiqueue.records import decode_outcome, decode_record, join_envelope, split_envelope
from scaiqueue.rows.engine import reading
from scaiqueue.rows.tables import idempotency
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import EraseItem
from scaiqueue.scripts.replies import NotReadyError
from scaiqueue.scripts.runner import ScriptRunner

COMMIT_S = 10.0
ENTRIES_PER_PAGE = 200


class Erased(NamedTuple):
    """How many the index held, and the headers that they have now."""

    found: int
    headers: Mapping[str, bytes]


_pack = msgspec.msgpack.Encoder().encode


class Index:
    """Raises NotReadyError while Redis is away, or the rows are behind: nothing can be erased then."""

    def __init__(
        self, redis: Redis, runner: ScriptRunner, engine: AsyncEngine, watermarks: Watermarks
    ) -> None:
        self._redis = redis
        self._runner = runner
        self._engine = engine
        self._watermarks = watermarks

    async def settle(self, scope: ScopeKeys) -> None:
        """Until the rows hold all that the journal holds now."""
        if self._watermarks.rows_lead():
            raise NotReadyError("Redis is away")
        if not await self._watermarks.wait_journal_end(scope.shard.number, COMMIT_S):
            raise NotReadyError("the rows are behind the journal")

    async def count(self, scope: ScopeKeys, ids: Sequence[str]) -> int:
        """How many of the messages the index holds."""
        found: Any = await self._redis.hmget(scope.key("state"), list(ids))
        return sum(one is not None for one in found)

    async def erase(self, scope: ScopeKeys, ids: Sequence[str], actor: str, *, redact: bool) -> Erased:
        """Put something else in the place of their content. Their rows are written once more by what follows
        from it, so those are to be changed afterwards."""
        done, headers = 0, dict[str, bytes]()
        while items := await self._items(scope, ids, headers, redact=redact):
            reply = await binding.erase(self._runner, scope, int(redact), actor, items)
            found = sum(item[0] == "OK" for item in reply.items)
            done = max(done, found)
            if found == len(items):
                break
            # What left the index meanwhile may have been to say what stands in a shared envelope.
        await self._drop_keys(scope, ids)
        await self.settle(scope)
        await self._clear_journal(scope, set(ids))
        return Erased(done, headers)

    async def _items(
        self, scope: ScopeKeys, ids: Sequence[str], headers: dict[str, bytes], *, redact: bool
    ) -> list[EraseItem]:
        """Of those that the index holds; their new headers gather in `headers`."""
        pipe = self._redis.pipeline(transaction=False)
        for part in ("state", "body", "overlay", "outcome"):
            pipe.hmget(scope.key(part), list(ids))
        states, bodies, overlays, outcomes = await pipe.execute()
        records = [decode_record(raw) if raw is not None else None for raw in states]
        shared = await self._shared(scope, {record.shared for record in records if record is not None})
        items: list[EraseItem] = []
        said: dict[str, bytes] = {}
        for message_id, record, stored, overlay, outcome in zip(
            ids, records, bodies, overlays, outcomes, strict=True
        ):
            if record is None:
                continue
            if record.shared:
                stored = shared[record.shared]
            if stored is None:
                continue
            header, body = split_envelope(stored)
            content = Content(header, body, overlay or b"", decode_outcome(outcome or b""))
            left = redacted(content) if redact else erased(content)
            packed = _pack(tuple(left.outcome)) if any(left.outcome) else ""
            envelope = join_envelope(left.header, left.body)
            again = said.get(record.shared) if record.shared else None
            said.setdefault(record.shared, envelope)
            headers[message_id] = left.header
            alone = again not in (None, envelope)
            if alone:
                # What rules changed of one copy is in its own header then, and whose copy it is.
                headers[message_id] = with_parent(left.header, record.shared)
                envelope = join_envelope(headers[message_id], left.body)
            told = b"" if again == envelope else envelope
            items.append(EraseItem(message_id, told, packed, "1" if alone else ""))
        return items

    async def _shared(self, scope: ScopeKeys, ids: set[str]) -> dict[str, bytes | None]:
        """Envelopes that several records share, by the id that these name."""
        wanted = sorted(ids - {""})
        if not wanted:
            return {}
        found: Any = await self._redis.hmget(scope.key("shared"), wanted)
        return dict(zip(wanted, found, strict=True))

    async def _drop_keys(self, scope: ScopeKeys, ids: Sequence[str]) -> None:
        """Idempotency keys: a digest of content is told from a guess."""
        c = idempotency.c
        async with reading(self._engine) as conn:
            query = select(c.queue, c.key_hash).where(c.message_id.in_(ids))
            found = (await conn.execute(query)).all()
        if found:
            await self._redis.delete(*(f"{scope.root}:idem:{row.queue}:{row.key_hash}" for row in found))

    async def _clear_journal(self, scope: ScopeKeys, ids: set[str]) -> None:
        """Entries are kept for a while after their commit; those that speak of the messages go now."""
        journal, start = scope.shard.journal, "-"
        end = after(self._watermarks.mark(scope.shard.number))
        while True:
            raws: Any = await self._redis.xrange(journal, start, end, count=ENTRIES_PER_PAGE)
            gone = [raw[0] for raw in raws if _speaks_of(raw, ids)]
            if gone:
                await self._redis.xdel(journal, *gone)
            if len(raws) < ENTRIES_PER_PAGE:
                return
            start = "(" + raws[-1][0].decode()


def _speaks_of(raw: RawEntry, ids: set[str]) -> bool:
    return any(not ids.isdisjoint(group.ids) for group in decode_any(raw).groups)
