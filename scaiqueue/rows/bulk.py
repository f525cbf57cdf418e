"""What the persister writes in bulk: the shapes of rows, and the statements that both databases share."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from scaiqueue.rows.tables import message_archive, messages

HISTORY_CAP = 500
CHUNK_BYTES = 4 * 2**20


class Change(NamedTuple):
    """The part of a message's row that transitions change, in column order.

    `history` holds the transitions to append, `history_count` their number.
    """

    id: str
    queue: str
    state: int
    attempts: int
    seq: int
    priority_rank: int
    deadline: int
    expires_at: int
    due_at: int
    max_retries: int
    flags: int
    token: str
    holder: str
    verb: str
    response: bytes
    failure_reason: str
    origin: str
    overlay: str
    updated_at: int
    history: str
    history_count: int
    touched_epoch: int
    touched_n: int


class Fixed(NamedTuple):
    """The part that is written once, with the first insert, in column order."""

    tenant_id: str
    scope_id: str
    shard: int
    message_type: str
    correlation_id: str
    source_id: str
    created_at: int
    header: str
    body: bytes


class NewMessage(NamedTuple):
    change: Change
    fixed: Fixed


class IdempotencyRow(NamedTuple):
    scope_id: str
    queue: str
    key_hash: str
    message_id: str
    digest: str
    expires_at: int


class EventRow(NamedTuple):
    shard: int
    epoch: int
    n: int
    tenant_id: str
    scope_id: str
    op: str
    queue: str
    actor: str
    at: int
    transitions: str
    detail: str


MESSAGE_COLUMNS = (*Change._fields, *Fixed._fields, "history_skipped")


class BulkWriter(Protocol):
    """The hot statements, written per database."""

    async def insert_messages(self, conn: AsyncConnection, rows: Sequence[NewMessage]) -> None:
        """Plain inserts: an id that exists raises IntegrityError."""

    async def update_messages(self, conn: AsyncConnection, rows: Sequence[Change]) -> int:
        """Bring existing rows up to date and append history; answers how many of `rows` were found.

        A row keeps what it has when its version is not older, and a terminal row its state: of
        those only the history grows. A row that a different state would leave terminal counts as not found.
        """

    async def update_all(self, conn: AsyncConnection, rows: Sequence[Change]) -> bool:
        """The same, cheaper, for rows with history that should all exist. False where that is not so, or a
        row can't leave its terminal state: then the transaction MUST be rolled back."""

    async def upsert_idempotency(self, conn: AsyncConnection, rows: Sequence[IdempotencyRow]) -> None: ...

    async def insert_events(self, conn: AsyncConnection, rows: Sequence[EventRow]) -> None: ...


async def newest_archived(conn: AsyncConnection) -> str:
    """The largest id in the archive, "" when it is empty: an id above it can't be there."""
    query = select(message_archive.c.id).order_by(message_archive.c.id.desc()).limit(1)
    return (await conn.execute(query)).scalar_one_or_none() or ""


async def existing_ids(conn: AsyncConnection, ids: Collection[str]) -> tuple[set[str], set[str]]:
    """Which of `ids` are in the live table, and which in the archive."""
    wanted = list(ids)
    live = await conn.execute(select(messages.c.id).where(messages.c.id.in_(wanted)))
    archived = await conn.execute(select(message_archive.c.id).where(message_archive.c.id.in_(wanted)))
    return set(live.scalars()), set(archived.scalars())
