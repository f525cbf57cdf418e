"""What holders send about their messages, and what they are answered."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw

from scaiqueue import moments
from scaiqueue.api.answers import Answer
from scaiqueue.api.claims import Claim
from scaiqueue.api.endpoint import Call
from scaiqueue.api.failures import ErrorBody
from scaiqueue.api.validation import invalid
from scaiqueue.api.words import ClaimToken, ConsumerId, ShortText, Uuid, VisibilitySeconds
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.queueing.message import is_json
from scaiqueue.queueing.settle import Settled
from scaiqueue.records import State
from scaiqueue.scripts.binding import CompleteItem, ExtendItem, FailItem, ReleaseItem

Reason = Annotated[str, Meta(max_length=4096, description="Why, for people.", examples=["timeout"])]
RetryAfter = Annotated[
    float, Meta(ge=0, le=31_536_000, description="Instead of the queue's backoff.", examples=[30])
]
Delay = Annotated[float, Meta(ge=0, le=31_536_000, description="Out of reach for so long.")]


class Holding(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Without `claim_token` the caller must be the holder: the same key, and the same `consumer_id`."""

    claim_token: ClaimToken | None = None
    consumer_id: ConsumerId | None = None


class Complete(Holding, forbid_unknown_fields=True, kw_only=True):
    """`response` is any JSON value; it is kept with the message."""

    response: Raw = msgspec.field(default_factory=Raw)


class Fail(Holding, forbid_unknown_fields=True, kw_only=True):
    """`retryable: false` sends the message to the dead letter at once."""

    reason: Reason = ""
    retryable: bool | None = None
    retry_after_s: RetryAfter | None = None


class Release(Holding, forbid_unknown_fields=True, kw_only=True):
    """The attempt does not count."""

    delay_s: Delay | None = None


class Extend(Holding, forbid_unknown_fields=True, kw_only=True):
    """The lease ends so long from now; absent, the queue's time."""

    visibility_timeout_s: VisibilitySeconds | None = None


class CompleteOne(Complete, forbid_unknown_fields=True, kw_only=True):
    id: Uuid


class FailOne(Fail, forbid_unknown_fields=True, kw_only=True):
    id: Uuid


class ReleaseOne(Release, forbid_unknown_fields=True, kw_only=True):
    id: Uuid


class ExtendOne(Extend, forbid_unknown_fields=True, kw_only=True):
    id: Uuid


class NextClaim(Claim, forbid_unknown_fields=True, kw_only=True):
    """As a claim, over `queue` or `queues`."""

    queue: ShortText | None = None
    queues: Annotated[list[ShortText], Meta(max_length=64)] | None = None
    strategy: str = "ordered"


class CompleteBatch(msgspec.Struct, forbid_unknown_fields=True):
    """At most 1,000 items. With `claim` the answer carries the next messages as `claimed`."""

    items: list[CompleteOne]
    claim: NextClaim | None = None


class FailBatch(msgspec.Struct, forbid_unknown_fields=True):
    """As CompleteBatch."""

    items: list[FailOne]
    claim: NextClaim | None = None


class ReleaseBatch(msgspec.Struct, forbid_unknown_fields=True):
    """At most 1,000 items."""

    items: list[ReleaseOne]


class ExtendBatch(msgspec.Struct, forbid_unknown_fields=True):
    """At most 1,000 items."""

    items: list[ExtendOne]


class RawItems(msgspec.Struct, forbid_unknown_fields=True):
    items: list[Raw]
    claim: NextClaim | None = None


class RawItemsOnly(msgspec.Struct, forbid_unknown_fields=True):
    items: list[Raw]


class SettledItem(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The message's new state, or `error`. `ready_at`: when a retried or released message returns."""

    id: str | None = None
    state: str | None = None
    queue: str | None = None
    ready_at: str | None = None
    lease_expires_at: str | None = None
    cancel_requested: bool | None = None
    error: ErrorBody | None = None


class SettledAndClaimed(Answer):
    """`claimed` is as a claim answers it. `claim_error`: the items are settled, and the claim after them was
    refused."""

    claimed: Raw
    claim_error: ErrorBody | None = None


def as_text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def moved(message_id: str, settled: Settled) -> SettledItem:
    """Of complete, fail and release: state, ready at, queue."""
    _, state, ready_at, queue = settled
    name: str = state.decode()
    ready = moments.text(int(ready_at)) if name == "scheduled" else None
    return SettledItem(id=message_id, state=name, queue=queue.decode(), ready_at=ready)


def extended(message_id: str, settled: Settled) -> SettledItem:
    lease_end, cancel_requested = settled[1:3]
    return SettledItem(
        id=message_id,
        state=State.claimed.name,
        lease_expires_at=moments.text(int(lease_end)),
        cancel_requested=bool(int(cancel_requested)),
    )


def _milliseconds(seconds: float | None) -> int | str:
    return "" if seconds is None else round(seconds * 1000)


def complete_item(message_id: str, asked: Complete, call: Call) -> CompleteItem:
    holder = call.principal.holder(asked.consumer_id)
    response = bytes(asked.response)
    if response:
        if len(response) > call.services.settings.max_body_bytes:
            raise QueueError(Code.SCAIQUEUE_MESSAGE_TOO_LARGE, "The response is larger than a body may be.")
        if not is_json(response):
            raise invalid(Detail("response", "Not JSON"))
    return CompleteItem(message_id, asked.claim_token or "", holder, response)


def fail_item(message_id: str, asked: Fail, call: Call) -> FailItem:
    return FailItem(
        message_id,
        asked.claim_token or "",
        call.principal.holder(asked.consumer_id),
        asked.reason,
        "" if asked.retryable is None else int(asked.retryable),
        _milliseconds(asked.retry_after_s),
    )


def release_item(message_id: str, asked: Release, call: Call) -> ReleaseItem:
    return ReleaseItem(
        message_id,
        asked.claim_token or "",
        call.principal.holder(asked.consumer_id),
        _milliseconds(asked.delay_s),
    )


def extend_item(message_id: str, asked: Extend, call: Call) -> ExtendItem:
    return ExtendItem(
        message_id,
        asked.claim_token or "",
        call.principal.holder(asked.consumer_id),
        _milliseconds(asked.visibility_timeout_s),
    )
