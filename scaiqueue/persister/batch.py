"""A batch: consecutive journal entries, and the rows that they and the records of their messages make."""

from __future__ import annotations

from collections import Counter

import msgspec
import structlog

from scaiqueue.keys import ScopeKeys
from scaiqueue.persister.journal import ID_LENGTH, Entry
from scaiqueue.persister.message_rows import History
from scaiqueue.persister.streams import StreamBatch
from scaiqueue.records import Version
from scaiqueue.rows.bulk import ChangedMessage, CopyRow, EventRow, IdempotencyRow, NewMessage
from scaiqueue.rows.rates import MINUTE_MS, Spot
from scaiqueue.rows.streams import ChunkRow, StreamRow

log = structlog.get_logger("scaiqueue.persister")
_encode = msgspec.json.Encoder().encode


class ScopeBatch(msgspec.Struct):
    """The messages of one scope in a batch, and their stored parts once they are read: `records` in the
    order of `messages`, the others by id where there is one; `shared` holds envelopes that several share."""

    keys: ScopeKeys
    messages: dict[str, History] = {}
    records: list[bytes | None] = []
    envelopes: dict[str, bytes | None] = {}
    shared: dict[str, bytes | None] = {}
    overlays: dict[str, bytes | None] = {}
    outcomes: dict[str, bytes | None] = {}


class Refused(msgspec.Struct):
    """A message that can't become a row, for the quarantine."""

    scope_id: str
    message_id: str
    version: Version
    record: bytes
    envelope: bytes
    error: str


class Rows(msgspec.Struct):
    """Everything one transaction writes, and what may be forgotten after it: ids with their versions."""

    inserts: list[NewMessage] = []
    updates: list[ChangedMessage] = []
    idempotency: list[IdempotencyRow] = []
    events: list[EventRow] = []
    copies: list[CopyRow] = []
    refused: list[Refused] = []
    forget: dict[ScopeKeys, list[tuple[str, str]]] = {}
    streams: list[StreamRow] = []
    chunks: list[ChunkRow] = []


class Batch(msgspec.Struct):
    """Entries up to `end`; `published` is the shard's count of published messages and chunks there."""

    shard: int
    entries: list[Entry]
    published: int
    scopes: dict[str, ScopeBatch]
    streams: StreamBatch = msgspec.field(default_factory=StreamBatch)

    @property
    def end(self) -> Version:
        return self.entries[-1].version

    @property
    def messages(self) -> int:
        return sum(len(scope.messages) for scope in self.scopes.values())

    @property
    def events(self) -> int:
        """How many transitions; an entry without any counts as one."""
        return sum(max(entry.size, 1) for entry in self.entries)


def gather(shard: int, entries: list[Entry], published: int) -> Batch:
    """Group the transitions of `entries` by scope and message. What is not of this shard is passed over."""
    batch = Batch(shard, entries, published, {})
    for entry in entries:
        if entry.published is not None:
            batch.published = entry.published
        if entry.stream is not None and (of_stream := _scope_of(entry.scope_root, shard)) is not None:
            batch.streams.add(of_stream, entry.stream)
        if not entry.groups:
            continue
        scope = batch.scopes.get(entry.scope_root)
        if scope is None:
            keys = _scope_of(entry.scope_root, shard)
            if keys is None:
                log.warning("journal_entry_of_a_stranger", shard=shard, entry=str(entry.version))
                continue
            scope = batch.scopes[entry.scope_root] = ScopeBatch(keys)
        _add(scope.messages, entry)
    return batch


def rate_counts(batch: Batch) -> Counter[Spot]:
    """How many messages made which transition, by queue and minute."""
    counts: Counter[Spot] = Counter()
    for entry in batch.entries:
        if not entry.groups or entry.scope_root not in batch.scopes:
            continue
        scope_id, minute = batch.scopes[entry.scope_root].keys.scope_id, entry.at // MINUTE_MS
        for group in entry.groups:
            counts[Spot(scope_id, group.queue, group.event, minute)] += len(group.joined) // ID_LENGTH
    return counts


def _add(messages: dict[str, History], entry: Entry) -> None:
    (epoch, n), at = entry.version, entry.at
    for place, group in enumerate(entry.groups):
        event, queue, attempts, actor, detail, _ = group
        new = event == "published" or (entry.op == "publish" and event == "dead_lettered")
        text = _encode((event, queue, attempts, actor, detail, epoch, n, place, at)).decode() + ","
        _append(messages, group.ids, History(text, 1, new, queue))


def _append(messages: dict[str, History], ids: list[str], then: History) -> None:
    """Messages with one history up to here have one afterwards too."""
    made = dict.fromkeys(ids, then)
    if len(made) == len(ids) and messages.keys().isdisjoint(made):
        messages |= made
        return
    longer: dict[History, History] = {}
    for message_id in ids:
        before = messages.get(message_id)
        if before is None:
            messages[message_id] = then
            continue
        after = longer.get(before)
        if after is None:
            after = longer[before] = History(
                before.text + then.text, before.count + 1, before.new or then.new, before.queue
            )
        messages[message_id] = after


def _scope_of(root: str, shard: int) -> ScopeKeys | None:
    """None for what is no scope of this shard."""
    try:
        keys = ScopeKeys.parse(root)
    except ValueError:
        return None
    return keys if keys.shard.number == shard else None


def event_rows(batch: Batch) -> list[EventRow]:
    rows = []
    for entry in batch.entries:
        if not (entry.groups or entry.detail):
            continue
        known = batch.scopes.get(entry.scope_root)
        keys = known.keys if known else _scope_of(entry.scope_root, batch.shard)
        if keys is None:
            continue
        rows.append(
            EventRow(
                batch.shard, *entry.version, keys.tenant, keys.scope_id, entry.op, entry.queue, entry.actor,
                entry.at, _encode(entry.groups).decode(), entry.detail,
            )
        )  # fmt: skip
    return rows
