"""The form in which events are told."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID, uuid5

import msgspec
from msgspec import UNSET, UnsetType

from scaiqueue import moments
from scaiqueue.rows.events import Place

SOURCE = "scaiqueue"


class Envelope(msgspec.Struct):
    """`event_id` is the same whenever and however an event is told. `payload` is a MessagePayload, or what
    the kind of event says of a queue, a scope, a stream."""

    event_type: str
    event_id: str
    source: str
    tenant_id: str
    payload: Any
    timestamp: str


class MessagePayload(msgspec.Struct, kw_only=True):
    """`queue` is where the message was after the transition, `attempts` as they were then; `actor` is who did
    it, `detail` the reason. `response` comes with `scaiqueue.message.completed` and `hitl.decided`. What is
    no longer known of a message that is gone is null."""

    scope_id: str
    message_id: str
    queue: str
    message_type: str | None
    correlation_id: str | None
    attempts: int
    actor: str | None
    detail: str | None
    response: Any = UNSET


class Told(NamedTuple):
    """An event ready to be sent. `subject` is what it is about: a message's id, or its scope's."""

    place: Place
    event_id: str
    event_type: str
    scope_id: str
    queue: str
    subject: str
    correlation_id: str | None
    at: int
    body: bytes


encode = msgspec.json.Encoder().encode


def event_id(scope_id: str, origin: str, part: int) -> str:
    """From the event's place in the journal."""
    return str(uuid5(UUID(scope_id), f"{origin}/{part}"))


def envelope(event_type: str, named: str, tenant: str, payload: object, at: int) -> bytes:
    return encode(Envelope(event_type, named, SOURCE, tenant, payload, moments.text(at)))


def message_payload(
    *,
    scope_id: str,
    message_id: str,
    queue: str,
    message_type: str | None,
    correlation_id: str | None,
    attempts: int,
    actor: str,
    detail: str,
    response: msgspec.Raw | UnsetType = UNSET,
) -> MessagePayload:
    return MessagePayload(
        scope_id=scope_id,
        message_id=message_id,
        queue=queue,
        message_type=message_type,
        correlation_id=correlation_id,
        attempts=attempts,
        actor=actor or None,
        detail=detail or None,
        response=response,
    )
