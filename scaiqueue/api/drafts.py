"""From what a publisher sends to what the script stores. The body's bytes stay as they came."""

from __future__ import annotations

import binascii
from base64 import b64decode
from hashlib import sha256
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw

from scaiqueue import moments
from scaiqueue.api.validation import invalid
from scaiqueue.api.words import DocumentReference, Moment, ShortText, Uuid
from scaiqueue.errors import Detail
from scaiqueue.queueing import refusals
from scaiqueue.queueing.directory import QueueEntry
from scaiqueue.queueing.header import (
    JSON_TYPE,
    MAX_HEADER,
    Header,
    Priority,
    Source,
    encode_header,
    is_json_type,
)
from scaiqueue.queueing.publish import Draft
from scaiqueue.review.pattern import PatternUse
from scaiqueue.review.spec import Spec
from scaiqueue.routing.values import body_values
from scaiqueue.scripts.binding import PublishOptions
from scaiqueue.settings import Settings

NULL_BODY = b"null"

Label = Annotated[str, Meta(max_length=256)]
Labels = Annotated[dict[ShortText, Label], Meta(max_length=64, examples=[{"region": "eu"}])]
ContentType = Annotated[
    str,
    Meta(
        max_length=256,
        pattern=r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+( *;[ -~]*)?$(?!\n)",
        description="Where it is not JSON, `body` is a base64 string of the content.",
        examples=["application/json"],
    ),
]
YearSeconds = Annotated[float, Meta(gt=0, le=31_536_000)]
DelaySeconds = Annotated[float, Meta(ge=0, le=31_536_000)]
Retries = Annotated[int, Meta(ge=0, le=100)]
Window = Annotated[
    int, Meta(ge=1, le=2_592_000, description="How long the key is remembered, instead of the queue's time.")
]


class Publish(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A message. `body` is any JSON value, kept byte for byte; for other content types a base64 string. With
    `hitl_spec` or `hitl_pattern` it waits for a human's decision, which completes it. `schema` names what the
    body must fit, instead of the queue's or the type's schema."""

    type: ShortText
    body: Raw = msgspec.field(default_factory=Raw)
    priority: Priority = Priority()
    labels: Labels = {}
    idempotency_key: ShortText | None = None
    idempotency_window_s: Window | None = None
    correlation_id: ShortText | None = None
    causation_id: ShortText | None = None
    parent_id: Uuid | None = None
    source: Source | None = None
    content_type: ContentType = JSON_TYPE
    ttl_seconds: YearSeconds | None = None
    deadline: Moment | None = None
    delay_until: Moment | None = None
    delay_s: DelaySeconds | None = None
    max_retries: Retries | None = None
    hitl_spec: Spec | None = None
    hitl_pattern: PatternUse | None = None
    schema: DocumentReference | None = None
    durability: Literal["committed", "indexed"] | None = None


_DEFAULT_PRIORITY = Priority()
_string = msgspec.json.Decoder(str)


def _content(asked: Publish) -> bytes:
    raw = bytes(asked.body) or NULL_BODY
    if asked.content_type == JSON_TYPE or is_json_type(asked.content_type):
        return raw
    try:
        return b64decode(_string.decode(raw), validate=True)
    except (msgspec.DecodeError, binascii.Error, ValueError):
        raise invalid(
            Detail("body", f"Must be a base64 string, since the content type is {asked.content_type}")
        ) from None


def make_draft(
    asked: Publish,
    queue: QueueEntry,
    actor: str,
    settings: Settings,
    header_key: str | None = None,
    review: Spec | None = None,
) -> Draft:
    """Raises QueueError for what the types alone don't tell. `header_key` is of `Idempotency-Key`; `review`
    what a human is asked before the message goes on."""
    body = _content(asked)
    if len(body) > settings.max_body_bytes:
        raise refusals.too_large(settings.max_body_bytes)
    if asked.deadline is not None or asked.delay_until is not None or header_key is not None:
        _check(asked, header_key)
    key = asked.idempotency_key or header_key
    delay_ms = _delay_ms(asked)
    header = encode_header(
        Header(
            type=asked.type,
            labels=asked.labels,
            source=asked.source,
            correlation_id=asked.correlation_id,
            causation_id=asked.causation_id,
            parent_id=asked.parent_id,
            content_type=None if asked.content_type == JSON_TYPE else asked.content_type,
            ttl_seconds=asked.ttl_seconds,
            deadline=None if asked.deadline is None else moments.text(moments.milliseconds(asked.deadline)),
            delay_until=moments.text(moments.now_ms() + delay_ms) if delay_ms else None,
            idempotency_key=key,
            priority=None if asked.priority == _DEFAULT_PRIORITY else asked.priority,
            hitl_spec=review,
        )
    )
    if len(header) > MAX_HEADER:
        field = "labels" if review is None else "hitl_spec"
        message = f"Everything but the body takes at most {MAX_HEADER} bytes, not {len(header)}"
        raise invalid(Detail(field, message))
    durability = (
        asked.durability or queue.settings.durability or queue.scope.row.durability or settings.durability
    )
    draft = Draft(queue.keys, actor, header, body, durability == "committed")
    if (
        key is not None
        or delay_ms
        or asked.priority != _DEFAULT_PRIORITY
        or asked.ttl_seconds is not None
        or asked.deadline is not None
        or asked.max_retries is not None
        or review is not None
    ):
        draft.options = PublishOptions(
            rank=asked.priority.rank,
            delay_ms=delay_ms or None,
            ttl_ms=None if asked.ttl_seconds is None else max(1, round(asked.ttl_seconds * 1000)),
            deadline=None if asked.deadline is None else moments.milliseconds(asked.deadline),
            max_retries=asked.max_retries,
            review_ms=None if review is None else review.timeout_ms,
        )
        if key is not None:
            window = asked.idempotency_window_s or queue.settings.idempotency_window_s
            draft.key = queue.scope.keys.idempotency(queue.slug, key)
            draft.options.digest = _digest(asked, body)
            draft.options.idem_ms = (window or settings.idempotency_window_s) * 1000
    if queue.scope.body_paths:
        draft.options = draft.options or PublishOptions()
        draft.options.values = body_values(body, queue.scope.body_paths)
    return draft


def _check(asked: Publish, header_key: str | None) -> None:
    wrong = [
        Detail(name, f"At the latest {moments.text(moments.LATEST_MS)}, after 1970")
        for name, moment in (("deadline", asked.deadline), ("delay_until", asked.delay_until))
        if moment is not None and not 0 < moments.milliseconds(moment) <= moments.LATEST_MS
    ]
    if asked.delay_until is not None and asked.delay_s is not None:
        wrong.append(Detail("delay_s", "Give either delay_until or delay_s"))
    if header_key is not None and asked.idempotency_key not in (None, header_key):
        wrong.append(Detail("idempotency_key", "Differs from the header Idempotency-Key"))
    if wrong:
        raise invalid(*wrong)


def _delay_ms(asked: Publish) -> int:
    if asked.delay_until is not None:
        return min(max(0, moments.milliseconds(asked.delay_until) - moments.now_ms()), MAX_DELAY_MS)
    return round((asked.delay_s or 0) * 1000)


MAX_DELAY_MS = 31_536_000_000


def _digest(asked: Publish, body: bytes) -> str:
    found = sha256(asked.type.encode())
    for part in (asked.content_type.encode(), body):
        found.update(b"\0")
        found.update(part)
    return found.hexdigest()
