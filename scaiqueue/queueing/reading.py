"""Reads of messages: the index first, then the row, then the archive."""

from __future__ import annotations

from typing import Any, cast

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.errors import Code, QueueError
from scaiqueue.queueing.directory import Directory, ScopeEntry
from scaiqueue.queueing.header import read_header
from scaiqueue.queueing.message import Message, Place, fields_of, stored_message
from scaiqueue.queueing.settle import RowFacts
from scaiqueue.records import Outcome, Record, State, decode_record
from scaiqueue.rows import messages
from scaiqueue.rows.messages import MessageRow


class MessageReader:
    """Raises SCAIQUEUE_MESSAGE_NOT_FOUND for ids that neither index nor rows know in the scope."""

    def __init__(self, redis: Redis, engine: AsyncEngine, directory: Directory) -> None:
        self._redis = redis
        self._engine = engine
        self._directory = directory

    async def place(self, scope: ScopeEntry, slug: str) -> Place:
        """The ids around a message; a queue that is gone has none."""
        try:
            queue_id = (await self._directory.queue(scope, slug)).id
        except QueueError:
            queue_id = None
        return Place(scope.row.tenant_id, scope.id, queue_id)

    async def get(self, scope: ScopeEntry, message_id: str) -> Message:
        parts = await self._parts(scope, message_id)
        if parts is not None:
            record, envelope, outcome = parts
            place = await self.place(scope, decode_record(record).queue)
            return stored_message(place, message_id, record, envelope, outcome)
        return await self.from_row(scope, await self.row(scope, message_id))

    async def _parts(self, scope: ScopeEntry, message_id: str) -> tuple[bytes, bytes, bytes] | None:
        pipe = self._redis.pipeline(transaction=False)
        for name in ("state", "body", "outcome"):
            pipe.hget(scope.keys.key(name), message_id)
        found: list[Any] = await pipe.execute()
        record, envelope, outcome = found
        return None if record is None or envelope is None else (record, envelope, outcome or b"")

    async def record(self, scope: ScopeEntry, message_id: str) -> Record:
        """State and place alone."""
        found = await self._redis.hget(scope.keys.key("state"), message_id)
        if found is not None:
            return decode_record(cast(bytes, found))
        return (await self.row(scope, message_id)).record

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

    async def from_row(self, scope: ScopeEntry, row: MessageRow) -> Message:
        place = await self.place(scope, row.record.queue)
        outcome = Outcome(row.response, row.failure_reason)
        return Message(**fields_of(place, row.id, row.record, read_header(row.header), row.body, outcome))
