"""A message on its way to another scope, and what is published there for it."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import msgspec

from scaiqueue.moments import now_ms
from scaiqueue.queueing.claim import Lease
from scaiqueue.queueing.directory import QueueEntry
from scaiqueue.queueing.header import Header, read_header
from scaiqueue.queueing.publish import Draft
from scaiqueue.records import Record, decode_record, split_envelope
from scaiqueue.routing.values import body_values
from scaiqueue.scripts.binding import PublishOptions

ACTOR = "system:relay"
REMEMBERED_MS = 86_400_000


class _Target(msgspec.Struct):
    """What rules noted in the overlay: `outbound` is scope id and queue."""

    outbound: str = "/"
    hops: int = 0


_target = msgspec.json.Decoder(_Target).decode


class Departure(msgspec.Struct):
    """`scope_id` "": the message does not say where it is going."""

    id: str
    token: str
    record: Record
    header: Header
    body: bytes
    scope_id: str
    queue: str
    hops: int


def departures(lease: Lease) -> Iterator[Departure]:
    parts = iter(lease.messages)
    for raw_id, record, envelope in zip(parts, parts, parts, strict=True):
        overlay, _ = lease.extras.get(raw_id, (b"", b""))
        header, body = split_envelope(envelope)
        target = _target(overlay or b"{}")
        scope_id, _, queue = target.outbound.partition("/")
        yield Departure(
            raw_id.decode(),
            lease.token.decode(),
            decode_record(record),
            read_header(header, overlay),
            body,
            scope_id,
            queue,
            target.hops,
        )


def arrival(message: Departure, queue: QueueEntry) -> Draft:
    """The same content for a queue of the other scope, with the first message as parent and cause. Its key
    makes a repeated arrival the same one."""
    key = f"transfer:{message.id}"
    header: dict[str, Any] = msgspec.to_builtins(message.header)
    header |= {
        "parent_id": message.id,
        "causation_id": message.id,
        "idempotency_key": key,
        "hops": message.hops,
    }
    header.pop("delay_until", None)
    record = message.record
    options = PublishOptions(
        rank=record.rank,
        ttl_ms=max(1, record.expires_at - now_ms()) if record.expires_at else None,
        deadline=record.deadline or None,
        max_retries=record.max_retries if record.max_retries >= 0 else None,
        digest=sha256(key.encode()).hexdigest(),
        idem_ms=REMEMBERED_MS,
    )
    if queue.scope.body_paths:
        options.values = body_values(message.body, queue.scope.body_paths)
    return Draft(
        queue.keys,
        ACTOR,
        msgspec.json.encode(header),
        message.body,
        committed=True,
        key=queue.scope.keys.idempotency(queue.slug, key),
        options=options,
    )
