"""The read model of a message, from the index or from its row. Body bytes are spliced, never re-encoded."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from scaiqueue import moments
from scaiqueue.queueing.header import JSON_TYPE, Header, Priority, is_json_header
from scaiqueue.records import Origin, Outcome, Record, State

NO_OUTCOME = Outcome(b"", "")
NULL = Raw(b"null")
_STATE_NAMES = {int(state): state.name for state in State}
_parse_raw = msgspec.json.Decoder(Raw).decode


class Claimant(msgspec.Struct):
    """`id` is the key's id, and after a slash the consumer's, if it gave one."""

    type: str
    id: str


class OriginView(msgspec.Struct):
    """The queue that a dead-lettered message came from, and why it left."""

    queue: str
    reason: str
    attempts: int
    at: str


class Message(msgspec.Struct, kw_only=True):
    """A message. `body_encoding` is `base64` for content that is not JSON. `effective_rank`: the rank (tier x
    1000 + score, raised by aging) of what is pending in a priority queue; null for others."""

    id: str
    tenant_id: str
    scope_id: str
    queue_id: str | None
    queue: str
    source_type: str | None
    source_id: str | None
    correlation_id: str | None
    causation_id: str | None
    parent_id: str | None
    message_type: str
    priority_tier: str
    priority_score: int
    effective_rank: int | None
    labels: dict[str, str]
    content_type: str
    body_encoding: str
    body: Any
    ttl_seconds: int | float | None
    deadline: str | None
    idempotency_key: str | None
    hitl_spec: Any
    state: str
    attempts: int
    claimed_by: Claimant | None
    failure_reason: str | None
    response: Any
    created_at: str
    updated_at: str
    delay_until: str | None
    visible_at: str | None
    completed_at: str | None
    origin: OriginView | None


class ClaimedMessage(Message, kw_only=True):
    """A message under a lease of the caller's. `claim_token` goes with complete, fail, release and extend."""

    claim_token: str
    lease_expires_at: str


class Place(NamedTuple):
    """Where a message is, for the ids in its model."""

    tenant: str
    scope_id: str
    queue_id: str | None


def is_json(body: bytes) -> bool:
    """True for one JSON value in UTF-8 that every reader takes."""
    try:
        if not body.isascii():
            body.decode()
        _parse_raw(body)
    except (ValueError, RecursionError):
        return False
    return True


def spliced_body(header: Header, body: bytes) -> tuple[str, Raw]:
    """Encoding and JSON text of a body: itself, or base64 where it isn't JSON whatever it claims."""
    if is_json_header(header) and is_json(body):
        return "json", Raw(body)
    return "base64", Raw(b'"' + b64encode(body) + b'"')


def spliced_response(data: bytes) -> Raw:
    """JSON text of a response: itself, or its text as a string."""
    if not data:
        return NULL
    return Raw(data) if is_json(data) else Raw(msgspec.json.encode(data.decode(errors="replace")))


def claimant(holder: str) -> Claimant | None:
    return Claimant("api_key", holder) if holder else None


def origin_view(origin: Origin | None) -> OriginView | None:
    if origin is None:
        return None
    return OriginView(origin.queue, origin.reason, origin.attempts, moments.text(origin.at))


def fields_of(
    place: Place,
    message_id: str,
    record: Record,
    header: Header,
    body: bytes,
    outcome: Outcome,
    effective_rank: int | None = None,
) -> dict[str, Any]:
    """The model's fields."""
    state = record.state
    encoding, spliced = spliced_body(header, body)
    priority = header.priority
    if priority is None or record.verb == "escalate":
        priority = Priority.of_rank(record.rank)
    return {
        "id": message_id,
        "tenant_id": place.tenant,
        "scope_id": place.scope_id,
        "queue_id": place.queue_id,
        "queue": record.queue,
        "source_type": header.source.type if header.source else None,
        "source_id": header.source.id if header.source else None,
        "correlation_id": header.correlation_id,
        "causation_id": record.parent(message_id) or header.causation_id,
        "parent_id": record.parent(message_id) or header.parent_id,
        "message_type": header.type,
        "priority_tier": priority.tier,
        "priority_score": priority.score,
        "effective_rank": effective_rank,
        "labels": header.labels,
        "content_type": header.content_type or JSON_TYPE,
        "body_encoding": encoding,
        "body": spliced,
        "ttl_seconds": header.ttl_seconds,
        "deadline": moments.optional_text(record.deadline),
        "idempotency_key": header.idempotency_key,
        "hitl_spec": header.hitl_spec,
        "state": _STATE_NAMES[state],
        "attempts": record.attempts,
        "claimed_by": claimant(record.holder) if state == State.claimed else None,
        "failure_reason": outcome.reason or None,
        "response": spliced_response(outcome.response),
        "created_at": moments.text(record.created_at),
        "updated_at": moments.text(record.updated_at),
        "delay_until": header.delay_until,
        "visible_at": moments.optional_text(record.due_at),
        "completed_at": moments.text(record.updated_at) if state == State.completed else None,
        "origin": origin_view(record.dead_letter_origin),
    }
