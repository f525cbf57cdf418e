"""Publish: one message, or many in one call."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from scaiqueue.api.answers import Rendered
from scaiqueue.api.drafts import Publish, make_draft
from scaiqueue.api.endpoint import Call, Parameter, Registry
from scaiqueue.api.failures import ErrorBody, error_body
from scaiqueue.api.preparation import needs_preparation, prepare
from scaiqueue.api.validation import decode, decode_items, invalid
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.queueing.message import Message
from scaiqueue.queueing.publish import Draft, Published
from scaiqueue.queueing.splicing import published_json

publishing = Registry("Messages")


class PublishBatch(msgspec.Struct, forbid_unknown_fields=True):
    """At most 1,000 messages. Each succeeds or fails by itself."""

    messages: list[Publish]


class _RawBatch(msgspec.Struct, forbid_unknown_fields=True):
    messages: list[Raw]


class PublishedItem(msgspec.Struct, omit_defaults=True):
    """`id` and `state`, or `error`. `idempotent_replay`: an earlier publish with the same key made it."""

    id: str | None = None
    state: str | None = None
    idempotent_replay: bool | None = None
    error: ErrorBody | None = None


_publish = msgspec.json.Decoder(Publish)
_batch, _raw_batch = msgspec.json.Decoder(PublishBatch), msgspec.json.Decoder(_RawBatch)
_PUBLISH_ERRORS = (
    Code.SCAIQUEUE_SCOPE_PAUSED,
    Code.SCAIQUEUE_QUEUE_PAUSED,
    Code.SCAIQUEUE_QUEUE_FULL,
    Code.SCAIQUEUE_IDEMPOTENCY_CONFLICT,
    Code.SCAIQUEUE_SYSTEM_QUEUE_READONLY,
    Code.SCAIQUEUE_SCHEMA_NOT_FOUND,
    Code.SCAIQUEUE_SCHEMA_VALIDATION_FAILED,
    Code.SCAIQUEUE_PATTERN_NOT_FOUND,
    Code.SCAIQUEUE_MESSAGE_TOO_LARGE,
    Code.SCAIQUEUE_MEMORY_FULL,
    Code.SCAIQUEUE_BACKLOG_FULL,
)
_KEY_HEADER = Parameter(
    "Idempotency-Key", "The same as `idempotency_key` in the body.", kind=str, place="header"
)


def _header_key(call: Call) -> str | None:
    key: str | None = call.request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= 256:
        raise invalid(Detail("Idempotency-Key", "1 to 256 characters"))
    return key


@publishing(
    "POST /scopes/{scope}/queues/{queue}/messages",
    "Publish a message",
    hot=True,
    body=Publish,
    answer=Message,
    status=201,
    parameters=(_KEY_HEADER,),
    errors=_PUBLISH_ERRORS,
    other_statuses={200: "Replayed: the message that an earlier publish with the same key made."},
)
async def publish(call: Call) -> Rendered:
    """Answers when the message is as durable as asked for: `committed` (in the rows) or `indexed`.

    With an idempotency key a repeated publish answers 200, `Idempotent-Replay: true` and the first
    message; with another type, content type or body it is a conflict.
    """
    queue = await call.queue()
    asked = await call.body(_publish)
    review = await prepare(call.services, queue, asked) if needs_preparation(asked, queue) else None
    draft = make_draft(asked, queue, call.principal.key_id, call.services.settings, _header_key(call), review)
    (result,) = await call.services.publisher.publish(queue.scope, [draft])
    if isinstance(result, QueueError):
        raise result
    call.message_ids = result.id
    if result.replay:
        message = await call.services.reader.get(queue.scope, result.id)
        return call.one(message, 200, **{"Idempotent-Replay": "true"})
    if result.routed or queue.settings.overflow_policy == "dead_letter":
        return call.one(await call.services.reader.get(queue.scope, result.id), 201)
    by_rank = queue.settings.ordering == "priority"
    return call.one(published_json(queue.place, draft, result, by_rank=by_rank), 201)


@publishing(
    "POST /scopes/{scope}/queues/{queue}/messages/batch",
    "Publish many messages",
    hot=True,
    body=PublishBatch,
    answer=PublishedItem,
    many=True,
    errors=_PUBLISH_ERRORS,
    media_types=("application/json", "application/x-ndjson"),
)
async def publish_batch(call: Call) -> Rendered:
    """Takes `{"messages": […]}`, or one message a line as `application/x-ndjson`.

    Answers one item per message in the order given, each with its own result or error.
    """
    queue = await call.queue()
    items = await _items(call)
    actor, settings = call.principal.key_id, call.services.settings
    drafts: list[Draft] = []
    results: list[PublishedItem] = []
    places: list[int] = []
    for item in items:
        try:
            asked = item if isinstance(item, Publish) else decode(_publish, item)
            review = await prepare(call.services, queue, asked) if needs_preparation(asked, queue) else None
            drafts.append(make_draft(asked, queue, actor, settings, review=review))
            places.append(len(results))
            results.append(PublishedItem())
        except QueueError as error:
            results.append(PublishedItem(error=error_body(error)))
    if drafts:
        published = await call.services.publisher.publish(queue.scope, drafts)
        for place, result in zip(places, published, strict=True):
            results[place] = _item(result)
    made = [item.id for item in results if item.id is not None]
    call.message_ids, call.refused_items = "".join(made), len(results) - len(made)
    return call.many(results)


def _item(result: Published | QueueError) -> PublishedItem:
    if isinstance(result, QueueError):
        return PublishedItem(error=error_body(result))
    if result.replay:
        return PublishedItem(id=result.id, idempotent_replay=True)
    return PublishedItem(id=result.id, state=result.state)


async def _items(call: Call) -> Sequence[Publish | bytes]:
    body = await call.request.body()
    settings = call.services.settings
    if len(body) > settings.max_batch_bytes:
        raise QueueError(
            Code.SCAIQUEUE_MESSAGE_TOO_LARGE, f"A batch takes at most {settings.max_batch_bytes} bytes."
        )
    kind = call.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("application/x-ndjson", "application/ndjson", "application/jsonl"):
        items: Sequence[Publish | bytes] = [line for line in body.split(b"\n") if line.strip()]
    else:
        batch = decode_items(_batch, _raw_batch, body)
        items = [bytes(item) if isinstance(item, Raw) else item for item in batch.messages]
    if not 1 <= len(items) <= settings.max_batch_items:
        raise invalid(Detail("messages", f"1 to {settings.max_batch_items} items"))
    return items
