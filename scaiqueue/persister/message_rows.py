"""From a message's stored parts to its row."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from scaiqueue.keys import ScopeKeys
from scaiqueue.queueing.header import read_header
from scaiqueue.records import Record, decode_outcome
from scaiqueue.rows.bulk import Change, ChangedMessage, Heading, NewMessage

# Characters that the indexed columns hold; the header itself is kept whole.
INDEXED = 256

_encode = msgspec.json.Encoder().encode


class History(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Transitions of a batch that messages have in common: one object for all of them.

    `text` as rows/history.py reads it; `new`: they begin with the publish, into `queue`.
    """

    text: str = ""
    count: int = 0
    new: bool = False
    queue: str = ""


class _Source(msgspec.Struct):
    id: str = ""


class Header(msgspec.Struct):
    """What rows index of a message's header."""

    type: str = ""
    correlation_id: str | None = None
    source: _Source | None = None
    idempotency_key: str | None = None


class Parts(NamedTuple):
    """Of one message: what happened to it, and what is stored beside its record."""

    history: History = History()
    envelope: bytes = b""
    overlay: bytes = b""
    outcome: bytes = b""


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


def change_of(record: Record, history: History, overlay: bytes, outcome: bytes) -> Change:
    response, reason = decode_outcome(outcome) if outcome else (b"", "")
    return Change(
        record.queue, record.state, record.attempts, record.rank, record.deadline, record.expires_at,
        record.due_at, record.max_retries, record.flags, record.token, record.holder, record.verb, response,
        reason, _encode(record.origin).decode() if record.origin else "", overlay.decode(), record.updated_at,
        history.text, history.count, record.touched_epoch, record.touched_n,
    )  # fmt: skip


def heading_of(scope: ScopeKeys, raw: bytes) -> tuple[Heading, Header]:
    """Raises ValueError (also msgspec's) when the header can't be read."""
    header = decode_header(raw)
    source = header.source.id if header.source else ""
    heading = Heading(
        scope.tenant, scope.scope_id, scope.shard.number, header.type[:INDEXED],
        (header.correlation_id or "")[:INDEXED], source[:INDEXED], raw.decode(),
    )  # fmt: skip
    return heading, header


def split(envelope: bytes) -> tuple[bytes, bytes]:
    """Header and body. Raises ValueError where there is no envelope."""
    header, line_break, body = envelope.partition(b"\n")
    if not line_break:
        raise ValueError("the envelope is missing")
    return header, body


def new_message(message_id: str, record: Record, parts: Parts, scope: ScopeKeys) -> NewMessage:
    """A single message's row. Raises ValueError (also msgspec's)."""
    header, body = split(parts.envelope)
    change = change_of(record, parts.history, parts.overlay, parts.outcome)
    return NewMessage(message_id, record.seq, record.created_at, body, change, heading_of(scope, header)[0])


def changed_message(message_id: str, record: Record, parts: Parts) -> ChangedMessage:
    return ChangedMessage(message_id, change_of(record, parts.history, parts.overlay, parts.outcome))
