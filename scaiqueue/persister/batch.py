"""A batch: consecutive journal entries, and the rows that they and the records of their messages make."""

from __future__ import annotations

from collections import Counter

import msgspec
import structlog

from scaiqueue.keys import ScopeKeys
from scaiqueue.persister.journal import ID_LENGTH, Entry
from scaiqueue.queueing.header import read_header
from scaiqueue.records import Record, Version
from scaiqueue.rows.bulk import Change, EventRow, IdempotencyRow, NewMessage
from scaiqueue.rows.rates import MINUTE_MS, Spot

log = structlog.get_logger("scaiqueue.persister")
_encode = msgspec.json.Encoder().encode


class _Source(msgspec.Struct):
    id: str = ""


class Header(msgspec.Struct):
    """What rows index of a message's header."""

    type: str = ""
    correlation_id: str | None = None
    source: _Source | None = None
    idempotency_key: str | None = None


_decode_header = msgspec.json.Decoder(Header).decode


def decode_header(raw: bytes) -> Header:
    """A part that is not of the form expected counts as absent, as it does for readers.

    Raises ValueError where it is no JSON.
    """
    try:
        return _decode_header(raw)
    except msgspec.ValidationError:
        found = read_header(raw)
        source = _Source(found.source.id) if found.source else None
        return Header(found.type, found.correlation_id, source, found.idempotency_key)


class Touched(msgspec.Struct, gc=False):
    """One message's transitions in a batch, and its stored parts once they are read."""

    new: bool = False
    history: list[bytes] = []
    raw: bytes | None = None
    record: Record | None = None
    envelope: bytes = b""
    overlay: bytes = b""
    outcome: bytes = b""


class ScopeBatch(msgspec.Struct):
    keys: ScopeKeys
    messages: dict[str, Touched] = {}


class Refused(msgspec.Struct):
    """A message that can't become a row, for the quarantine."""

    scope_id: str
    message_id: str
    version: Version
    record: bytes
    envelope: bytes
    error: str


class Rows(msgspec.Struct):
    """Everything one transaction writes, and what may be forgotten after it."""

    inserts: list[NewMessage] = []
    updates: list[Change] = []
    idempotency: list[IdempotencyRow] = []
    events: list[EventRow] = []
    refused: list[Refused] = []
    forget: dict[ScopeKeys, list[tuple[str, Version]]] = {}


class Batch(msgspec.Struct):
    """Entries up to `end`; `published` is the shard's count of published messages there."""

    shard: int
    entries: list[Entry]
    published: int
    scopes: dict[str, ScopeBatch]

    @property
    def end(self) -> Version:
        return self.entries[-1].version

    @property
    def messages(self) -> int:
        return sum(len(scope.messages) for scope in self.scopes.values())


def gather(shard: int, entries: list[Entry], published: int) -> Batch:
    """Group the transitions of `entries` by scope and message. What is not of this shard is passed over."""
    batch = Batch(shard, entries, published, {})
    for entry in entries:
        if entry.published is not None:
            batch.published = entry.published
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


def _add(messages: dict[str, Touched], entry: Entry) -> None:
    (epoch, n), at, place = entry.version, entry.at, 0
    of_publish = entry.op == "publish"
    for group in entry.groups:
        event, queue, attempts, actor, detail, _ = group
        fresh = event == "published" or (of_publish and event == "dead_lettered")
        for message_id in group.ids:
            touched = messages.get(message_id)
            if touched is None:
                touched = messages[message_id] = Touched()
            touched.new = touched.new or fresh
            touched.history.append(_encode((event, queue, attempts, actor, detail, epoch, n, place, at)))
            place += 1


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
        keys = _scope_of(entry.scope_root, batch.shard)
        if keys is None or not (entry.groups or entry.detail):
            continue
        rows.append(
            EventRow(
                batch.shard, *entry.version, keys.tenant, keys.scope_id, entry.op, entry.queue, entry.actor,
                entry.at, _encode(entry.groups).decode(), entry.detail,
            )
        )  # fmt: skip
    return rows
