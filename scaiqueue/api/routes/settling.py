"""Complete, fail, release, extend and cancel: what a holder says of its messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from scaiqueue.api.answers import ListMeta, Rendered, encode
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.api.failures import ErrorBody, error_body
from scaiqueue.api.routes.claiming import queues_named, take
from scaiqueue.api.settlements import (
    Complete,
    CompleteBatch,
    CompleteOne,
    Extend,
    ExtendBatch,
    ExtendOne,
    Fail,
    FailBatch,
    FailOne,
    Holding,
    NextClaim,
    RawItems,
    RawItemsOnly,
    Release,
    ReleaseBatch,
    ReleaseOne,
    SettledAndClaimed,
    SettledItem,
    as_text,
    complete_item,
    extend_item,
    extended,
    fail_item,
    moved,
    release_item,
)
from scaiqueue.api.validation import decode, decode_items, invalid
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.queueing.directory import QueueEntry, ScopeEntry
from scaiqueue.queueing.settle import Settled, Verb
from scaiqueue.records import State
from scaiqueue.scripts.binding import CancelItem

settling = Registry("Messages")

Item = TypeVar("Item", bound=tuple[Any, ...])
Asked = TypeVar("Asked", bound=Holding)

Make = Callable[[str, Asked, Call], Item]
Show = Callable[[str, Settled], SettledItem]


async def _one(
    call: Call,
    decoder: msgspec.json.Decoder[Asked],
    make: Make[Asked, Item],
    verb: Verb[Item],
    show: Show = moved,
) -> Rendered:
    scope = await call.scope()
    message_id = await call.message_id(scope)
    asked = await call.body(decoder, optional=True)
    _, settled = await verb.one(scope, make(message_id, asked, call))
    return call.one(show(message_id, settled))


async def _many(
    call: Call,
    scope: ScopeEntry,
    given: Sequence[Raw | Holding],
    decoder: msgspec.json.Decoder[Any],
    make: Make[Any, Item],
    verb: Verb[Item],
    show: Show = moved,
) -> list[SettledItem]:
    """One result per item, in order, each with its own error."""
    limit = call.services.settings.max_batch_items
    if not 1 <= len(given) <= limit:
        raise invalid(Detail("items", f"1 to {limit} items"))
    results: list[SettledItem] = []
    items: list[Item] = []
    places: list[int] = []
    for item_or_raw in given:
        try:
            asked: Any = decode(decoder, bytes(item_or_raw)) if isinstance(item_or_raw, Raw) else item_or_raw
            await call.require_message(scope, asked.id)
            items.append(make(asked.id, asked, call))
            places.append(len(results))
            results.append(SettledItem(id=asked.id))
        except QueueError as error:
            results.append(SettledItem(error=error_body(error)))
    if items:
        _, settled = await verb.settle(scope, items)
        for place, item, result in zip(places, items, settled, strict=True):
            if isinstance(result, QueueError):
                results[place] = SettledItem(id=item[0], error=error_body(result))
            else:
                results[place] = show(item[0], result)
    call.message_ids = "".join([item[0] for item in items])
    call.refused_items = sum([result.error is not None for result in results])
    return results


async def _next_queues(call: Call, scope: ScopeEntry, asked: NextClaim | None) -> tuple[QueueEntry, ...]:
    """Everything that can be wrong with the claim is said before the items are settled."""
    if asked is None:
        return ()
    longest = call.services.settings.max_wait_s
    wrong = []
    if (asked.queue is None) == (not asked.queues):
        wrong.append(Detail("claim.queue", "Give either queue or queues"))
    if asked.strategy not in ("ordered", "oldest", "fair"):
        wrong.append(Detail("claim.strategy", "One of ordered, oldest, fair"))
    if asked.wait_s > longest:
        wrong.append(Detail("claim.wait_s", f"At most {longest}"))
    if wrong:
        raise invalid(*wrong)
    return await queues_named(call, scope, asked.queues or [str(asked.queue)])


async def _then_claim(
    call: Call,
    scope: ScopeEntry,
    results: list[SettledItem],
    asked: NextClaim | None,
    queues: tuple[QueueEntry, ...],
) -> Rendered:
    if asked is None:
        return call.many(results)
    claimed = b"[]"
    refused: ErrorBody | None = None
    try:
        claimed = await take(call, scope, queues, asked, asked.strategy)
    except QueueError as error:
        refused = error_body(error)
    return Rendered(encode(SettledAndClaimed(results, ListMeta(call.request_id), Raw(claimed), refused)))


_items_and_claim = msgspec.json.Decoder(RawItems)
_items_only = msgspec.json.Decoder(RawItemsOnly)
_complete_batch, _fail_batch = msgspec.json.Decoder(CompleteBatch), msgspec.json.Decoder(FailBatch)
_release_batch, _extend_batch = msgspec.json.Decoder(ReleaseBatch), msgspec.json.Decoder(ExtendBatch)
_complete, _complete_one = msgspec.json.Decoder(Complete), msgspec.json.Decoder(CompleteOne)
_fail, _fail_one = msgspec.json.Decoder(Fail), msgspec.json.Decoder(FailOne)
_release, _release_one = msgspec.json.Decoder(Release), msgspec.json.Decoder(ReleaseOne)
_extend, _extend_one = msgspec.json.Decoder(Extend), msgspec.json.Decoder(ExtendOne)
_HOLDER_ERRORS = (Code.SCAIQUEUE_CLAIM_LOST, Code.SCAIQUEUE_INVALID_STATE)


@settling(
    "POST /scopes/{scope}/messages/complete",
    "Complete many messages, and claim the next",
    hot=True,
    body=CompleteBatch,
    answer=SettledItem,
    many=True,
)
async def complete_batch(call: Call) -> Rendered:
    scope = await call.scope()
    asked = decode_items(_complete_batch, _items_and_claim, await call.request.body())
    queues = await _next_queues(call, scope, asked.claim)
    verb = call.services.settlement.complete
    results = await _many(call, scope, asked.items, _complete_one, complete_item, verb)
    return await _then_claim(call, scope, results, asked.claim, queues)


@settling(
    "POST /scopes/{scope}/messages/fail",
    "Fail many messages, and claim the next",
    hot=True,
    body=FailBatch,
    answer=SettledItem,
    many=True,
)
async def fail_batch(call: Call) -> Rendered:
    scope = await call.scope()
    asked = decode_items(_fail_batch, _items_and_claim, await call.request.body())
    queues = await _next_queues(call, scope, asked.claim)
    verb = call.services.settlement.fail
    results = await _many(call, scope, asked.items, _fail_one, fail_item, verb)
    return await _then_claim(call, scope, results, asked.claim, queues)


@settling(
    "POST /scopes/{scope}/messages/release",
    "Release many messages",
    hot=True,
    body=ReleaseBatch,
    answer=SettledItem,
    many=True,
)
async def release_batch(call: Call) -> Rendered:
    scope = await call.scope()
    asked = decode_items(_release_batch, _items_only, await call.request.body())
    verb = call.services.settlement.release
    return call.many(await _many(call, scope, asked.items, _release_one, release_item, verb))


@settling(
    "POST /scopes/{scope}/messages/extend",
    "Extend the leases of many messages",
    hot=True,
    body=ExtendBatch,
    answer=SettledItem,
    many=True,
)
async def extend_batch(call: Call) -> Rendered:
    scope = await call.scope()
    asked = decode_items(_extend_batch, _items_only, await call.request.body())
    verb = call.services.settlement.extend
    return call.many(await _many(call, scope, asked.items, _extend_one, extend_item, verb, extended))


@settling(
    "POST /scopes/{scope}/messages/{message}/complete",
    "Complete a message",
    hot=True,
    body=Complete,
    body_optional=True,
    answer=SettledItem,
    errors=(*_HOLDER_ERRORS, Code.SCAIQUEUE_MESSAGE_TOO_LARGE),
)
async def complete(call: Call) -> Rendered:
    """Repeating it with the token that it succeeded with answers the same again."""
    return await _one(call, _complete, complete_item, call.services.settlement.complete)


@settling(
    "POST /scopes/{scope}/messages/{message}/fail",
    "Fail a message: it is retried, or goes to the dead letter",
    hot=True,
    body=Fail,
    body_optional=True,
    answer=SettledItem,
    errors=_HOLDER_ERRORS,
)
async def fail(call: Call) -> Rendered:
    return await _one(call, _fail, fail_item, call.services.settlement.fail)


@settling(
    "POST /scopes/{scope}/messages/{message}/release",
    "Return a message untried",
    hot=True,
    body=Release,
    body_optional=True,
    answer=SettledItem,
    errors=_HOLDER_ERRORS,
)
async def release(call: Call) -> Rendered:
    return await _one(call, _release, release_item, call.services.settlement.release)


@settling(
    "POST /scopes/{scope}/messages/{message}/extend",
    "Lengthen a lease",
    hot=True,
    body=Extend,
    body_optional=True,
    answer=SettledItem,
    errors=_HOLDER_ERRORS,
)
async def extend(call: Call) -> Rendered:
    """The answer says whether someone asked to cancel the message."""
    return await _one(call, _extend, extend_item, call.services.settlement.extend, extended)


@settling(
    "POST /scopes/{scope}/messages/{message}/cancel",
    "Cancel a message",
    hot=True,
    answer=SettledItem,
    errors=(Code.SCAIQUEUE_INVALID_STATE,),
)
async def cancel(call: Call) -> Rendered:
    """A waiting message is gone; the holder of a claimed one hears of it at its next extend."""
    scope = await call.scope()
    message_id = await call.message_id(scope)
    settled = await call.services.settlement.cancel(scope, CancelItem(message_id, call.principal.key_id))
    requested = as_text(settled[1]) == "cancel_requested"
    state = State.claimed if requested else State.cancelled
    return call.one(SettledItem(id=message_id, state=state.name, cancel_requested=requested))
