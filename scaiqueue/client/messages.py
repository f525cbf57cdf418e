"""What is published, claimed and answered."""

from __future__ import annotations

import copy
from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypedDict, TypeVar
from uuid import uuid4

import msgspec
from msgspec import Raw

from scaiqueue.client import payloads, tracing

T = TypeVar("T")
Tier = Literal["background", "low", "normal", "high", "critical"]

OWN_KEY_WINDOW_S = 600
"""How long a key that the client made is remembered: longer than it repeats a call."""

_NULL = Raw(b"null")


class Priority(msgspec.Struct, frozen=True, omit_defaults=True):
    tier: Tier = "normal"
    score: int = 500


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    type: str
    id: str | None = None


class Options(TypedDict, total=False):
    """What a publish may say of a message besides its type and body; as the HTTP API names it."""

    priority: Priority | Tier
    labels: Mapping[str, str]
    idempotency_key: str
    correlation_id: str
    causation_id: str
    parent_id: str
    source: Source
    content_type: str
    ttl_seconds: float
    deadline: datetime
    delay_until: datetime
    delay_s: float
    max_retries: int
    hitl_spec: Any
    hitl_pattern: Any
    schema: str
    durability: Literal["committed", "indexed"]


class Draft(msgspec.Struct, omit_defaults=True):
    """A message to be published."""

    type: str
    body: Any = None
    priority: Priority | Tier | None = None
    labels: Mapping[str, str] | None = None
    idempotency_key: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    parent_id: str | None = None
    source: Source | None = None
    content_type: str | None = None
    ttl_seconds: float | None = None
    deadline: datetime | None = None
    delay_until: datetime | None = None
    delay_s: float | None = None
    max_retries: int | None = None
    hitl_spec: Any = None
    hitl_pattern: Any = None
    schema: str | None = None
    durability: str | None = None
    idempotency_window_s: int | None = None

    def ready(self) -> bytes:
        """As it is sent: with a key, so that a repeated call makes no second message, and the trace that it
        belongs to. Raises PayloadError."""
        sent = copy.copy(self)
        if sent.idempotency_key is None:
            sent.idempotency_key, sent.idempotency_window_s = uuid4().hex, OWN_KEY_WINDOW_S
        if isinstance(sent.priority, str):
            sent.priority = Priority(sent.priority)
        sent.labels = tracing.carried(sent.labels)
        return payloads.encode(sent)


class Published(msgspec.Struct, frozen=True):
    """`replay`: an earlier publish with the same key had made it; then a batch does not say its state."""

    id: str
    state: str | None = None
    replay: bool = msgspec.field(name="idempotent_replay", default=False)


class Message(msgspec.Struct, kw_only=True):
    """A message. `body` and `response` are JSON as it came: `json()` and `into()` read the body."""

    id: str
    queue: str
    type: str = msgspec.field(name="message_type")
    state: str
    attempts: int
    body: Raw = _NULL
    body_encoding: str = "json"
    content_type: str = "application/json"
    labels: dict[str, str] = {}
    priority_tier: str = "normal"
    priority_score: int = 500
    correlation_id: str | None = None
    causation_id: str | None = None
    parent_id: str | None = None
    source_type: str | None = None
    source_id: str | None = None
    idempotency_key: str | None = None
    failure_reason: str | None = None
    response: Raw = _NULL
    origin: dict[str, Any] | None = None
    created_at: str
    updated_at: str
    deadline: str | None = None
    visible_at: str | None = None
    completed_at: str | None = None

    def content(self) -> bytes:
        """The body's bytes, whatever its content type."""
        return bytes(self.body) if self.body_encoding == "json" else b64decode(msgspec.json.decode(self.body))

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    def into(self, kind: payloads.Kind[T]) -> T:
        """The body as a Struct, dataclass or pydantic model. Raises PayloadError."""
        return payloads.Codec(kind).decode(self.body)

    def answer(self) -> Any:
        """What its consumer completed it with."""
        return msgspec.json.decode(self.response)


class Claimed(Message, kw_only=True):
    """A message under a lease of ours."""

    claim_token: str
    lease_expires_at: str


class Settled(msgspec.Struct, frozen=True):
    """What became of a message. `ready_at`: when it is back. `cancel_requested`: somebody wants it gone."""

    id: str
    state: str
    queue: str | None = None
    ready_at: str | None = None
    lease_expires_at: str | None = None
    cancel_requested: bool = False


class Event(msgspec.Struct):
    """Something that happened in the scope. `subscribe(after=place)` goes on behind it; `event_id` is the
    same however often it is told."""

    event_type: str
    event_id: str
    timestamp: str
    payload: Any = None
    source: str = ""
    tenant_id: str = ""
    place: str = ""
