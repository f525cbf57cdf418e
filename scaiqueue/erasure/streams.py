"""The streams' part of an erasure: whoever's message it became or was to become, no chunk of it stays."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.erasure.index import Index
from scaiqueue.erasure.subject import Subject
from scaiqueue.erasure.tombstone import ERASED
from scaiqueue.keys import ScopeKeys
from scaiqueue.rows import streams as rows
from scaiqueue.rows.streams import StreamRow
from scaiqueue.scripts import binding
from scaiqueue.scripts.replies import NotReadyError
from scaiqueue.scripts.runner import ScriptRunner
from scaiqueue.streams.template import read_template

PAGE = 100
MOST_CHUNKS = 10_000
_encode = msgspec.json.Encoder().encode


class Streams:
    """Open ones are aborted. Raises NotReadyError while one that fits is being assembled: wait for it."""

    def __init__(self, engine: AsyncEngine, runner: ScriptRunner, index: Index) -> None:
        self._engine = engine
        self._runner = runner
        self._index = index

    async def fitting(self, scope: ScopeKeys, subject: Subject, before: str) -> tuple[list[StreamRow], str]:
        """Of a page of a scope's streams, and where the next begins; "" after the last."""
        page = await rows.page(self._engine, scope.scope_id, before, PAGE)
        found = [row for row in page if await self._fits(row, subject)]
        return found, page[-1].id if len(page) == PAGE else ""

    async def _fits(self, row: StreamRow, subject: Subject) -> bool:
        header = _encode(read_template(row.template).message)
        body = b""
        if subject.body:
            chunks = await rows.chunks_after(self._engine, row.id, -1, MOST_CHUNKS)
            body = b"".join(data for _, data in chunks)
        return subject.fits(header, b"", body)

    async def end(self, scope: ScopeKeys, found: Sequence[StreamRow], actor: str) -> None:
        """In the index, so that nothing of them is written to the rows any more."""
        for row in found:
            if row.live:
                keys = scope.stream(row.id)
                reply = await binding.end_stream(self._runner, scope, keys, "abort", actor, ERASED)
                if reply.items[0] and reply.items[0][1:] in ([b"closed"], ["closed"]):
                    raise NotReadyError("a stream is being assembled")
        await self._index.settle(scope)
        known = await rows.committed(self._engine, scope.shard.number, [row.id for row in found])
        for stream_id, version in known.items():
            keys = scope.stream(stream_id)
            await binding.end_stream(self._runner, scope, keys, "forget", "", str(version))
