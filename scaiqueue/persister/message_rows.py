"""From a message's stored parts to its row."""

from __future__ import annotations

import msgspec.json

from scaiqueue.keys import ScopeKeys
from scaiqueue.persister.batch import Header, Touched, decode_header
from scaiqueue.records import Record, decode_outcome, split_envelope
from scaiqueue.rows.bulk import Change, Fixed, NewMessage

# Characters that the indexed columns hold; the header itself is kept whole.
INDEXED = 256

_encode = msgspec.json.Encoder().encode


def change_of(message_id: str, touched: Touched, record: Record) -> Change:
    response, reason = decode_outcome(touched.outcome) if touched.outcome else (b"", "")
    history = b",".join(touched.history).decode() + "," if touched.history else ""
    return Change(
        message_id, record.queue, record.state, record.attempts, record.seq, record.rank, record.deadline,
        record.expires_at, record.due_at, record.max_retries, record.flags, record.token, record.holder,
        record.verb, response, reason, _encode(record.origin).decode() if record.origin else "",
        touched.overlay.decode(), record.updated_at, history, len(touched.history),
        record.touched_epoch, record.touched_n,
    )  # fmt: skip


def new_message(
    message_id: str, touched: Touched, record: Record, scope: ScopeKeys
) -> tuple[NewMessage, Header]:
    """Raises ValueError (also msgspec's) when the envelope is none, or its header can't be read."""
    if not touched.envelope:
        raise ValueError("the envelope is missing")
    head, body = split_envelope(touched.envelope)
    header = decode_header(head)
    fixed = Fixed(
        scope.tenant, scope.scope_id, scope.shard.number, header.type[:INDEXED],
        (header.correlation_id or "")[:INDEXED], (header.source.id if header.source else "")[:INDEXED],
        record.created_at, head.decode(), body,
    )  # fmt: skip
    return NewMessage(change_of(message_id, touched, record), fixed), header
