"""What the persister writes in bulk: the shapes of rows, and what both databases must do with them.

Messages that went the same way share one Change object, and those with the same header one Heading: a writer
makes of each what it needs once, and not once a message.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from scaiqueue.rows.positions import Step
from scaiqueue.rows.rates import Spot
from scaiqueue.rows.tables import message_archive, messages

HISTORY_CAP = 500
CHUNK_BYTES = 4 * 2**20


class Change(NamedTuple):
    """The part of a message's row that transitions change, in column order.

    `history` holds the transitions to append, `history_count` their number.
    """

    queue: str
    state: int
    attempts: int
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


class Heading(NamedTuple):
    """What a row says of a message's scope and header, in column order; written with the insert only."""

    tenant_id: str
    scope_id: str
    shard: int
    message_type: str
    correlation_id: str
    source_id: str
    header: str


class NewMessage(NamedTuple):
    id: str
    seq: int
    created_at: int
    body: bytes
    change: Change
    heading: Heading


class ChangedMessage(NamedTuple):
    id: str
    change: Change


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


class CopyRow(NamedTuple):
    """A copy for a subscription, of a message that holds the body of both."""

    message_id: str
    parent_id: str


class RowSet(NamedTuple):
    """What one transaction writes; messages are sorted by id."""

    step: Step
    inserts: Sequence[NewMessage]
    updates: Sequence[ChangedMessage]
    idempotency: Sequence[IdempotencyRow]
    events: Sequence[EventRow]
    counts: Mapping[Spot, int]
    copies: Sequence[CopyRow] = ()


class Written(Enum):
    """`moved`: the position is no longer the one that was stepped from. `unsure`: a new message may be
    archived already, or one that changed is missing, newer, or in another terminal state."""

    all = 1
    moved = 2
    unsure = 3


MESSAGE_COLUMNS = ("id", "seq", "created_at", "body", "history_skipped", *Change._fields, *Heading._fields)


class BulkWriter(Protocol):
    """The hot statements, written per database."""

    async def write(self, conn: AsyncConnection, rows: RowSet) -> Written:
        """Everything of a batch, the quick way. Unless all is written the transaction MUST be rolled back;
        a message that is there already raises IntegrityError."""

    async def insert_messages(self, conn: AsyncConnection, rows: Sequence[NewMessage]) -> None:
        """Plain inserts: an id that exists raises IntegrityError."""

    async def update_messages(self, conn: AsyncConnection, rows: Sequence[ChangedMessage]) -> int:
        """Bring existing rows up to date and append history; answers how many of `rows` were found.

        A row keeps what it has when its version is not older, and a terminal row its state: of
        those only the history grows. A row that a different state would leave terminal counts as not found.
        """

    async def upsert_idempotency(self, conn: AsyncConnection, rows: Sequence[IdempotencyRow]) -> None: ...

    async def insert_events(self, conn: AsyncConnection, rows: Sequence[EventRow]) -> None: ...

    async def insert_copies(self, conn: AsyncConnection, rows: Sequence[CopyRow]) -> None:
        """Those that are there already stay."""


async def existing_ids(conn: AsyncConnection, ids: Collection[str]) -> tuple[set[str], set[str]]:
    """Which of `ids` are in the live table, and which in the archive."""
    wanted = list(ids)
    live = await conn.execute(select(messages.c.id).where(messages.c.id.in_(wanted)))
    archived = await conn.execute(select(message_archive.c.id).where(message_archive.c.id.in_(wanted)))
    return set(live.scalars()), set(archived.scalars())
