"""A unit of work: one transaction on the rows of one shard, which it holds locked, for one call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from scaiqueue.fallback import members, rows
from scaiqueue.fallback.rows import Counters
from scaiqueue.fallback.rules import Rules
from scaiqueue.fallback.transitions import void_if_stale
from scaiqueue.keys import DEAD_LETTER, ScopeKeys
from scaiqueue.persister.batch import event_rows, gather, rate_counts
from scaiqueue.persister.journal import Entry, Group
from scaiqueue.persister.message_rows import History, Parts, changed_message, new_message
from scaiqueue.records import Flag, Outcome, Record, State, Version, join_envelope
from scaiqueue.rows import positions, rates
from scaiqueue.rows.bulk import BulkWriter, IdempotencyRow
from scaiqueue.rows.positions import Position


class Message(msgspec.Struct):
    """A message that the call looks at. `content`: header and body of one that it publishes.

    `voided`: its lease was of another epoch.
    """

    id: str
    record: Record
    overlay: str = ""
    outcome: Outcome = Outcome(b"", "")
    content: tuple[bytes, bytes] | None = None
    voided: bool = False

    @property
    def packed_outcome(self) -> bytes:
        return pack_outcome(self.outcome) if self.record.flags & Flag.outcome else b""


class Work:
    """Nothing is written before `commit`, except for the counters and the sets of queues."""

    def __init__(
        self,
        conn: AsyncConnection,
        bulk: BulkWriter,
        scope: ScopeKeys,
        term: int,
        position: Position,
        now: int,
    ) -> None:
        self.conn = conn
        self.scope = scope
        self.term = term
        self.epoch = position.version.epoch
        self.now = now
        self.position = position
        self.version = Version(position.version.epoch, position.version.n + 1)
        self.published = 0
        self.woken: set[str] = set()
        self.idempotency: list[IdempotencyRow] = []
        self._bulk = bulk
        self._messages: dict[str, Message] = {}
        self._rules: dict[str, Rules] = {}
        self._kept: set[str] = set()
        self._changed: dict[str, Message] = {}
        self._unplaced: dict[str, Message] = {}
        self._groups: list[Group] = []

    async def load(self, ids: Sequence[str]) -> list[Message | None]:
        """In the order of `ids`; None for what is not in the live rows. An id asked for twice is one object,
        so that a batch sees what its earlier items decided."""
        missing = [name for name in dict.fromkeys(ids) if name not in self._messages]
        if missing:
            for stored in (await rows.load(self.conn, self.scope.scope_id, missing)).values():
                voided = void_if_stale(stored.record, self.epoch)
                self._messages[stored.id] = Message(
                    stored.id, stored.record, stored.overlay, stored.outcome, voided=voided
                )
        return [self._messages.get(name) for name in ids]

    async def load_rules(self, slugs: Iterable[str]) -> None:
        """Of queues that this call is about; the dead letter is always one of them."""
        wanted = {*slugs, DEAD_LETTER} - set(self._rules)
        if wanted:
            self._rules |= {slug: Rules(slug) for slug in wanted}
            for row in await rows.queue_rows(self.conn, self.scope.scope_id, wanted):
                self._rules[row.slug] = Rules.of(row)
            self._kept |= await members.kept(self.conn, self.term, self.scope.scope_id, wanted)

    def rules(self, slug: str) -> Rules:
        return self._rules[slug]

    def queue(self, slug: str) -> members.Queue:
        return members.Queue(self.term, self.scope.scope_id, slug)

    def changed(self, message_id: str) -> bool:
        return message_id in self._changed

    @property
    def changes(self) -> int:
        return len(self._changed)

    def change(self, message: Message, event: str, actor: str, detail: str = "") -> None:
        """The message's record was changed by a transition of that name."""
        if message.voided:
            message.voided = False
            self._log(message, "restored", message.record.attempts - (event == "claimed"), "", "")
        record = message.record
        record.touched_epoch, record.touched_n = self.version
        record.updated_at = self.now
        self._changed[message.id] = self._unplaced[message.id] = message
        self._messages[message.id] = message
        if record.state == State.pending:
            self.woken.add(record.queue)
        self._log(message, event, message.record.attempts, actor, detail)

    def _log(self, message: Message, event: str, attempts: int, actor: str, detail: str) -> None:
        kind = (event, message.record.queue, attempts, actor, detail)
        if self._groups and self._groups[-1][:-1] == kind:
            joined = self._groups.pop().joined + message.id
        else:
            joined = message.id
        self._groups.append(Group(*kind, joined))

    def set_outcome(self, message: Message, response: bytes, reason: str) -> None:
        message.outcome = Outcome(response, reason)
        message.record.flags |= Flag.outcome

    async def counters(self) -> Counters:
        return await rows.counters(self.conn, self.scope.scope_id, self.term, self.epoch)

    async def set_counters(self, to: Counters) -> None:
        await rows.set_counters(self.conn, self.scope.scope_id, self.term, to)

    async def place(self) -> None:
        """Move what has changed so far between the sets of queues."""
        await members.replace(
            self.conn,
            self.term,
            self.scope.scope_id,
            {
                message.id: (
                    message.record.queue,
                    members.members_of(message.record, self.rules(message.record.queue), self.now)
                    if message.record.queue in self._kept
                    else [],
                )
                for message in self._unplaced.values()
            },
        )
        self._unplaced.clear()

    async def commit(self, op: str) -> Version | None:
        """Write what has changed as the shard's next entry; None where nothing has."""
        if not self._changed:
            return None
        await self.place()
        version = self.version
        published = self.position.published + self.published
        entry = Entry(version, op, self.scope.root, self.now, self._groups, published, "")
        batch = gather(self.scope.shard.number, [entry], published)
        await self._write_messages(batch.scopes[self.scope.root].messages)
        if self.idempotency:
            await self._bulk.upsert_idempotency(self.conn, self.idempotency)
        await self._bulk.insert_events(self.conn, event_rows(batch))
        await rates.add(self.conn, rate_counts(batch))
        await positions.advance(
            self.conn, self.scope.shard.number, self.position.version, version, published, self.now
        )
        return version

    async def _write_messages(self, histories: dict[str, History]) -> None:
        inserts, updates = [], []
        for name, message in sorted(self._changed.items()):
            envelope = join_envelope(*message.content) if message.content else b""
            parts = Parts(histories[name], envelope, message.overlay.encode(), message.packed_outcome)
            if message.content:
                inserts.append(new_message(name, message.record, parts, self.scope))
            else:
                updates.append(changed_message(name, message.record, parts))
        if inserts:
            await self._bulk.insert_messages(self.conn, inserts)
        if updates:
            await self._bulk.update_messages(self.conn, updates)


def pack_outcome(outcome: Outcome) -> bytes:
    """As the scripts pack it: text, or binary where a response is none."""
    response, reason = outcome
    try:
        return msgspec.msgpack.encode((response.decode(), reason))
    except UnicodeDecodeError:
        return msgspec.msgpack.encode((response, reason))
