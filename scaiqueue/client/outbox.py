"""Publishes from within a database transaction of one's own: what is rolled back is never published.

A row is written in the transaction, and a relay publishes it afterwards under the row's own idempotency key:
however often the relay must repeat itself, one message comes of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Unpack
from uuid import uuid4

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Insert,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.client.client import Client
from scaiqueue.client.errors import ClientError, Refused
from scaiqueue.client.messages import Draft, Options

_Id = BigInteger().with_variant(Integer, "sqlite")
_Content = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


class Outbox:
    """A table in the application's own metadata, so that its migrations make it."""

    def __init__(self, metadata: MetaData, name: str = "scaiqueue_outbox") -> None:
        self.table = Table(
            name,
            metadata,
            Column("id", _Id, primary_key=True, autoincrement=True),
            Column("queue", String(63), nullable=False),
            Column("message", _Content, nullable=False),
            Column("created_at", DateTime, nullable=False, server_default=func.now()),
            Column("refused", Text, nullable=True),
        )

    def publish(self, queue: str, type: str, body: Any = None, **options: Unpack[Options]) -> Insert:
        """A statement to be executed in the transaction, by a Session or Connection of either kind.

        Raises PayloadError.
        """
        return self.put(queue, Draft(type, body, **options))

    def put(self, queue: str, *drafts: Draft) -> Insert:
        """As `publish`, for drafts."""
        rows = []
        for draft in drafts:
            if draft.idempotency_key is None:
                # The queue's own window, a day by default: a relay may be down for longer than a client.
                draft = msgspec.structs.replace(draft, idempotency_key=uuid4().hex)
            rows.append({"queue": queue, "message": draft.ready()})
        return insert(self.table).values(rows)


class Relay:
    """Publishes the rows of an outbox in their order, and deletes them. Any number may run.

    A message that the queue refuses for good keeps its row, with the reason in `refused`, and holds up
    nobody.
    """

    def __init__(
        self, outbox: Outbox, engine: AsyncEngine, client: Client, *, batch: int = 500, every_s: float = 0.5
    ) -> None:
        self._table = outbox.table
        self._engine = engine
        self._client = client
        self._batch = batch
        self._every_s = every_s

    async def run(self) -> None:
        """Until it is cancelled. The queue being away is waited for; the database being away is raised."""
        while True:
            try:
                full = await self.once() == self._batch
            except ClientError as error:
                if not error.retryable:
                    raise
                full = False
            if not full:
                await asyncio.sleep(self._every_s)

    async def once(self) -> int:
        """Publishes what waits now, one batch at most; answers how many rows it looked at.

        Raises ClientError, with the rows as they were.
        """
        table = self._table
        waiting = (
            select(table.c.id, table.c.queue, table.c.message)
            .where(table.c.refused.is_(None))
            .order_by(table.c.id)
            .limit(self._batch)
        )
        # No lock is held while the queue is asked: what two relays publish at once has the same keys.
        async with self._engine.connect() as conn:
            rows = (await conn.execute(waiting)).all()
        for at, upto in _runs(rows):
            await self._publish(rows[at:upto])
        return len(rows)

    async def _publish(self, rows: Sequence[Any]) -> None:
        drafts = [msgspec.json.decode(row.message, type=_Stored) for row in rows]
        results = await self._client.publish_many(rows[0].queue, drafts)
        table = self._table
        async with self._engine.begin() as conn:
            for row, result in zip(rows, results, strict=True):
                if isinstance(result, Refused) and not result.retryable:
                    await conn.execute(update(table).where(table.c.id == row.id).values(refused=str(result)))
            done = [row.id for row, one in zip(rows, results, strict=True) if not isinstance(one, Refused)]
            if done:
                await conn.execute(delete(table).where(table.c.id.in_(done)))


class _Stored(Draft):
    """As it was written; its body and its moments travel on as they are."""

    body: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"))


def _runs(rows: Sequence[Any]) -> list[tuple[int, int]]:
    """Neighbours of one queue: the order is kept."""
    ends = [at for at in range(1, len(rows)) if rows[at].queue != rows[at - 1].queue]
    starts = [0, *ends]
    return list(zip(starts, [*ends, len(rows)], strict=True)) if rows else []
