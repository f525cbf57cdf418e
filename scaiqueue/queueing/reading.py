"""Reads of messages: the index first, then the row, then the archive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.errors import Code, QueueError
from scaiqueue.fallback.rules import Rules
from scaiqueue.moments import now_ms
from scaiqueue.queueing.depths import effective_ranks
from scaiqueue.queueing.directory import Directory, QueueEntry, ScopeEntry
from scaiqueue.queueing.header import Header, read_header
from scaiqueue.queueing.message import Message, Place, fields_of
from scaiqueue.queueing.settle import RowFacts
from scaiqueue.records import Outcome, Record, State, decode_outcome, decode_record, split_envelope
from scaiqueue.rows import messages
from scaiqueue.rows.messages import MessageRow


class MessageReader:
    """Raises SCAIQUEUE_MESSAGE_NOT_FOUND for ids that neither index nor rows know in the scope.

    While `rows_lead`, which is when Redis is away, the rows alone are asked.
    """

    def __init__(
        self,
        redis: Redis,
        engine: AsyncEngine,
        directory: Directory,
        rows_lead: Callable[[], bool] = lambda: False,
    ) -> None:
        self._redis = redis
        self._engine = engine
        self._directory = directory
        self._rows_lead = rows_lead

    async def place(self, scope: ScopeEntry, slug: str) -> Place:
        """The ids around a message; a queue that is gone has none."""
        return _place(scope, await self._queue(scope, slug))

    async def _queue(self, scope: ScopeEntry, slug: str) -> QueueEntry | None:
        try:
            return await self._directory.queue(scope, slug)
        except QueueError:
            return None

    async def get(self, scope: ScopeEntry, message_id: str) -> Message:
        parts = await self._parts(scope, message_id)
        if parts is None:
            (message,) = await self.from_rows(scope, [await self.row(scope, message_id)])
            return message
        packed, envelope, outcome, overlay = parts
        record, (header, body) = decode_record(packed), split_envelope(envelope)
        queue = await self._queue(scope, record.queue)
        ranks = await self._ranks([(message_id, queue, record)])
        header_read, ended = read_header(header, overlay), decode_outcome(outcome)
        fields = (record, header_read, body, ended, ranks.get(message_id))
        return Message(**fields_of(_place(scope, queue), message_id, *fields))

    async def _parts(self, scope: ScopeEntry, message_id: str) -> tuple[bytes, bytes, bytes, bytes] | None:
        if self._rows_lead():
            return None
        pipe = self._redis.pipeline(transaction=False)
        for name in ("state", "body", "outcome", "overlay"):
            pipe.hget(scope.keys.key(name), message_id)
        found: list[Any] = await pipe.execute()
        record, envelope, outcome, overlay = found
        if record is not None and envelope is None:
            shared = decode_record(record).shared
            envelope = await self._redis.hget(scope.keys.key("shared"), shared) if shared else None
        if record is None or envelope is None:
            return None
        return record, envelope, outcome or b"", overlay or b""

    async def stored(self, scope: ScopeEntry, message_id: str) -> tuple[Record, bytes, bytes, bytes]:
        """Record, header, body and overlay."""
        parts = await self._parts(scope, message_id)
        if parts is None:
            row = await self.row(scope, message_id)
            return row.record, row.header, row.body, row.overlay
        packed, envelope, _, overlay = parts
        return decode_record(packed), *split_envelope(envelope), overlay

    async def record(self, scope: ScopeEntry, message_id: str) -> Record:
        """State and place alone."""
        if not self._rows_lead():
            found = await self._redis.hget(scope.keys.key("state"), message_id)
            if found is not None:
                return decode_record(cast(bytes, found))
        return (await self.row(scope, message_id)).record

    async def head(self, scope: ScopeEntry, message_id: str) -> tuple[Record, Header]:
        """All but its content."""
        parts = await self._parts(scope, message_id)
        if parts is None:
            row = await self.row(scope, message_id)
            return row.record, read_header(row.header, row.overlay)
        return decode_record(parts[0]), read_header(split_envelope(parts[1]).header, parts[3])

    async def row(self, scope: ScopeEntry, message_id: str) -> MessageRow:
        row = await messages.find(self._engine, scope.id, message_id)
        if row is None:
            raise QueueError(Code.SCAIQUEUE_MESSAGE_NOT_FOUND)
        return row

    async def facts(self, scope_id: str, message_id: str) -> RowFacts | None:
        """For a verb whose message the index has forgotten."""
        row = await messages.find(self._engine, scope_id, message_id)
        if row is None:
            return None
        return RowFacts(State(row.record.state).name, row.record.token, row.record.verb, row.record.queue)

    async def from_rows(self, scope: ScopeEntry, rows: Sequence[MessageRow]) -> list[Message]:
        """Rows as messages; only the rank of what is pending is asked of the index."""
        queues = {slug: await self._queue(scope, slug) for slug in {row.record.queue for row in rows}}
        ranks = await self._ranks([(row.id, queues[row.record.queue], row.record) for row in rows])
        return [
            Message(
                **fields_of(
                    _place(scope, queues[row.record.queue]),
                    row.id,
                    row.record,
                    read_header(row.header, row.overlay),
                    row.body,
                    Outcome(row.response, row.failure_reason),
                    ranks.get(row.id),
                )
            )
            for row in rows
        ]

    async def _ranks(
        self, messages: Sequence[tuple[str, QueueEntry | None, Record]]
    ) -> dict[str, int | None]:
        """Of those that have one: what is pending in a priority queue."""
        ranked = [
            (message_id, queue, record)
            for message_id, queue, record in messages
            if queue and record.state == State.pending and queue.settings.ordering == "priority"
        ]
        if self._rows_lead():
            now = now_ms()
            return {name: Rules.of(queue.row).rank(record, now) for name, queue, record in ranked}
        found = await effective_ranks(self._redis, [(queue.keys, name) for name, queue, _ in ranked])
        return {name: rank for (name, _, _), rank in zip(ranked, found, strict=True)}


def _place(scope: ScopeEntry, queue: QueueEntry | None) -> Place:
    return Place(scope.row.tenant_id, scope.id, queue.id if queue else None)
