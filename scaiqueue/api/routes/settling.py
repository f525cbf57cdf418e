"""Complete, fail, release, extend and cancel: what a holder says of its messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Response
from msgspec import Meta, Raw

from scaiqueue import moments
from scaiqueue.api.answers import Answer, ListMeta, json_response
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.api.failures import ErrorBody, error_body
from scaiqueue.api.routes.claiming import Claim, queues_named, take
from scaiqueue.api.validation import decode, invalid
from scaiqueue.api.words import ClaimToken, ConsumerId, ShortText, Uuid, VisibilitySeconds
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.queueing.directory import ScopeEntry
from scaiqueue.queueing.message import ClaimedMessage, is_json
from scaiqueue.queueing.settle import Settled, Verb
from scaiqueue.records import State
from scaiqueue.scripts.binding import CancelItem, CompleteItem, ExtendItem, FailItem, ReleaseItem

settling = Registry("Messages")

Reason = Annotated[str, Meta(max_length=4096, description="Why, for people.", examples=["timeout"])]
RetryAfter = Annotated[
    float, Meta(ge=0, le=31_536_000, description="Instead of the queue's backoff.", examples=[30])
]
Delay = Annotated[float, Meta(ge=0, le=31_536_000, description="Out of reach for so long.")]
Item = TypeVar("Item", bound=tuple[Any, ...])
Asked = TypeVar("Asked", bound="Holding")


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


class _RawItems(msgspec.Struct, forbid_unknown_fields=True):
    items: list[Raw]
    claim: NextClaim | None = None


class _RawItemsOnly(msgspec.Struct, forbid_unknown_fields=True):
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
    claimed: list[ClaimedMessage]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def moved(message_id: str, settled: Settled) -> SettledItem:
    """Of complete, fail and release: state, ready at, queue."""
    state, ready_at, queue = settled.words[:3]
    name = _text(state)
    return SettledItem(
        id=message_id,
        state=name,
        queue=_text(queue),
        ready_at=moments.text(int(ready_at)) if name == State.scheduled.name else None,
    )


def extended(message_id: str, settled: Settled) -> SettledItem:
    lease_end, cancel_requested = settled.words[:2]
    return SettledItem(
        id=message_id,
        state=State.claimed.name,
        lease_expires_at=moments.text(int(lease_end)),
        cancel_requested=bool(int(cancel_requested)),
    )


def _milliseconds(seconds: float | None) -> int | str:
    return "" if seconds is None else round(seconds * 1000)


def _complete_item(message_id: str, asked: Complete, call: Call) -> CompleteItem:
    response = bytes(asked.response)
    if len(response) > call.services.settings.max_body_bytes:
        raise QueueError(Code.SCAIQUEUE_MESSAGE_TOO_LARGE, "The response is larger than a body may be.")
    if response and not is_json(response):
        raise invalid(Detail("response", "Not JSON"))
    return CompleteItem(
        message_id, asked.claim_token or "", call.principal.holder(asked.consumer_id), response
    )


def _fail_item(message_id: str, asked: Fail, call: Call) -> FailItem:
    return FailItem(
        message_id,
        asked.claim_token or "",
        call.principal.holder(asked.consumer_id),
        asked.reason,
        "" if asked.retryable is None else int(asked.retryable),
        _milliseconds(asked.retry_after_s),
    )


def _release_item(message_id: str, asked: Release, call: Call) -> ReleaseItem:
    return ReleaseItem(
        message_id,
        asked.claim_token or "",
        call.principal.holder(asked.consumer_id),
        _milliseconds(asked.delay_s),
    )


def _extend_item(message_id: str, asked: Extend, call: Call) -> ExtendItem:
    return ExtendItem(
        message_id,
        asked.claim_token or "",
        call.principal.holder(asked.consumer_id),
        _milliseconds(asked.visibility_timeout_s),
    )


Make = Callable[[str, Asked, Call], Item]
Show = Callable[[str, Settled], SettledItem]


async def _one(
    call: Call,
    decoder: msgspec.json.Decoder[Asked],
    make: Make[Asked, Item],
    verb: Verb[Item],
    show: Show = moved,
) -> Response[Any]:
    scope = await call.scope()
    message_id = await call.message_id(scope)
    asked = await call.body(decoder, optional=True)
    settled = await verb.one(scope, make(message_id, asked, call))
    return call.one(show(message_id, settled))


async def _many(
    call: Call,
    scope: ScopeEntry,
    raws: Sequence[Raw],
    decoder: msgspec.json.Decoder[Any],
    make: Make[Any, Item],
    verb: Verb[Item],
    show: Show = moved,
) -> list[SettledItem]:
    """One result per item, in order, each with its own error."""
    limit = call.services.settings.max_batch_items
    if not 1 <= len(raws) <= limit:
        raise invalid(Detail("items", f"1 to {limit} items"))
    results: list[SettledItem] = []
    items: list[Item] = []
    places: list[int] = []
    for raw in raws:
        try:
            asked = decode(decoder, bytes(raw))
            await call.require_message(scope, asked.id)
            items.append(make(asked.id, asked, call))
            places.append(len(results))
            results.append(SettledItem(id=asked.id))
        except QueueError as error:
            results.append(SettledItem(error=error_body(error)))
    if items:
        settled = await verb.settle(scope, items)
        for place, item, result in zip(places, items, settled, strict=True):
            if isinstance(result, QueueError):
                results[place] = SettledItem(id=item[0], error=error_body(result))
            else:
                results[place] = show(item[0], result)
    return results


async def _then_claim(
    call: Call, scope: ScopeEntry, results: list[SettledItem], asked: NextClaim | None
) -> Response[Any]:
    if asked is None:
        return call.many(results)
    names = [asked.queue] if asked.queue is not None else asked.queues or []
    queues = await queues_named(call, scope, names)
    claimed = await take(call, scope, queues, asked, asked.strategy)
    return json_response(SettledAndClaimed(results, ListMeta(call.request_id), claimed))


def _checked(asked: NextClaim | None) -> NextClaim | None:
    if asked is not None:
        if (asked.queue is None) == (not asked.queues):
            raise invalid(Detail("claim.queue", "Give either queue or queues"))
        if asked.strategy not in ("ordered", "oldest", "fair"):
            raise invalid(Detail("claim.strategy", "One of ordered, oldest, fair"))
    return asked


_items_and_claim = msgspec.json.Decoder(_RawItems)
_items_only = msgspec.json.Decoder(_RawItemsOnly)
_complete, _complete_one = msgspec.json.Decoder(Complete), msgspec.json.Decoder(CompleteOne)
_fail, _fail_one = msgspec.json.Decoder(Fail), msgspec.json.Decoder(FailOne)
_release, _release_one = msgspec.json.Decoder(Release), msgspec.json.Decoder(ReleaseOne)
_extend, _extend_one = msgspec.json.Decoder(Extend), msgspec.json.Decoder(ExtendOne)
_HOLDER_ERRORS = (Code.SCAIQUEUE_CLAIM_LOST, Code.SCAIQUEUE_INVALID_STATE)


@settling(
    "POST /scopes/{scope}/messages/complete",
    "Complete many messages, and claim the next",
    body=CompleteBatch,
    answer=SettledItem,
    many=True,
)
async def complete_batch(call: Call) -> Response[Any]:
    scope = await call.scope()
    asked = await call.body(_items_and_claim)
    _checked(asked.claim)
    verb = call.services.settlement.complete
    results = await _many(call, scope, asked.items, _complete_one, _complete_item, verb)
    return await _then_claim(call, scope, results, asked.claim)


@settling(
    "POST /scopes/{scope}/messages/fail",
    "Fail many messages, and claim the next",
    body=FailBatch,
    answer=SettledItem,
    many=True,
)
async def fail_batch(call: Call) -> Response[Any]:
    scope = await call.scope()
    asked = await call.body(_items_and_claim)
    _checked(asked.claim)
    verb = call.services.settlement.fail
    results = await _many(call, scope, asked.items, _fail_one, _fail_item, verb)
    return await _then_claim(call, scope, results, asked.claim)


@settling(
    "POST /scopes/{scope}/messages/release",
    "Release many messages",
    body=ReleaseBatch,
    answer=SettledItem,
    many=True,
)
async def release_batch(call: Call) -> Response[Any]:
    scope = await call.scope()
    asked = await call.body(_items_only)
    verb = call.services.settlement.release
    return call.many(await _many(call, scope, asked.items, _release_one, _release_item, verb))


@settling(
    "POST /scopes/{scope}/messages/extend",
    "Extend the leases of many messages",
    body=ExtendBatch,
    answer=SettledItem,
    many=True,
)
async def extend_batch(call: Call) -> Response[Any]:
    scope = await call.scope()
    asked = await call.body(_items_only)
    verb = call.services.settlement.extend
    return call.many(await _many(call, scope, asked.items, _extend_one, _extend_item, verb, extended))


@settling(
    "POST /scopes/{scope}/messages/{message}/complete",
    "Complete a message",
    body=Complete,
    body_optional=True,
    answer=SettledItem,
    errors=(*_HOLDER_ERRORS, Code.SCAIQUEUE_MESSAGE_TOO_LARGE),
)
async def complete(call: Call) -> Response[Any]:
    """Repeating it with the token that it succeeded with answers the same again."""
    return await _one(call, _complete, _complete_item, call.services.settlement.complete)


@settling(
    "POST /scopes/{scope}/messages/{message}/fail",
    "Fail a message: it is retried, or goes to the dead letter",
    body=Fail,
    body_optional=True,
    answer=SettledItem,
    errors=_HOLDER_ERRORS,
)
async def fail(call: Call) -> Response[Any]:
    return await _one(call, _fail, _fail_item, call.services.settlement.fail)


@settling(
    "POST /scopes/{scope}/messages/{message}/release",
    "Return a message untried",
    body=Release,
    body_optional=True,
    answer=SettledItem,
    errors=_HOLDER_ERRORS,
)
async def release(call: Call) -> Response[Any]:
    return await _one(call, _release, _release_item, call.services.settlement.release)


@settling(
    "POST /scopes/{scope}/messages/{message}/extend",
    "Lengthen a lease",
    body=Extend,
    body_optional=True,
    answer=SettledItem,
    errors=_HOLDER_ERRORS,
)
async def extend(call: Call) -> Response[Any]:
    """The answer says whether someone asked to cancel the message."""
    return await _one(call, _extend, _extend_item, call.services.settlement.extend, extended)


@settling(
    "POST /scopes/{scope}/messages/{message}/cancel",
    "Cancel a message",
    answer=SettledItem,
    errors=(Code.SCAIQUEUE_INVALID_STATE,),
)
async def cancel(call: Call) -> Response[Any]:
    """A waiting message is gone; the holder of a claimed one hears of it at its next extend."""
    scope = await call.scope()
    message_id = await call.message_id(scope)
    settled = await call.services.settlement.cancel(scope, CancelItem(message_id, call.principal.key_id))
    requested = _text(settled.words[0]) == "cancel_requested"
    state = State.claimed if requested else State.cancelled
    return call.one(SettledItem(id=message_id, state=state.name, cancel_requested=requested))
