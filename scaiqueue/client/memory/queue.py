"""Answers the client's calls from memory, as a server answers them over HTTP."""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote

import msgspec
from msgspec import Raw

from scaiqueue import moments
from scaiqueue.api.claims import Claim, ClaimMany
from scaiqueue.api.drafts import NULL_BODY, Publish
from scaiqueue.api.failures import error_body
from scaiqueue.api.routes.queues import CreateQueue
from scaiqueue.api.routes.scopes import CreateScope
from scaiqueue.api.settlements import (
    CompleteOne,
    ExtendOne,
    FailOne,
    NextClaim,
    RawItems,
    ReleaseOne,
    SettledItem,
)
from scaiqueue.api.validation import decode
from scaiqueue.client.memory.scope import MemoryScope
from scaiqueue.client.memory.settling import cancel, settle
from scaiqueue.client.memory.stored import Stored
from scaiqueue.client.transport import Answer
from scaiqueue.errors import Code, QueueError
from scaiqueue.fallback.rules import Rules
from scaiqueue.keys import DEAD_LETTER
from scaiqueue.queueing import refusals
from scaiqueue.queueing.configuration import backoff_text
from scaiqueue.queueing.header import is_json_type
from scaiqueue.records import State
from scaiqueue.settings import Settings

_SCOPE, _QUEUE, _MESSAGE = (
    r"/scopes/(?P<scope>[^/]+)",
    r"/queues/(?P<queue>[^/]+)",
    r"/(?P<message>[0-9a-f-]{36})",
)
_VERB = r"/(?P<verb>complete|fail|release|extend)"
_VERBS: dict[str, msgspec.json.Decoder[Any]] = {
    "complete": msgspec.json.Decoder(CompleteOne),
    "fail": msgspec.json.Decoder(FailOne),
    "release": msgspec.json.Decoder(ReleaseOne),
    "extend": msgspec.json.Decoder(ExtendOne),
}
_publish, _claim = msgspec.json.Decoder(Publish), msgspec.json.Decoder(Claim)
_claim_many = msgspec.json.Decoder(ClaimMany)
_items = msgspec.json.Decoder(RawItems)
_LIMIT, _LONGEST = Settings().max_body_bytes, Settings().max_batch_bytes
_KEPT_ALIVE_S = 15.0


class _Batch(msgspec.Struct):
    messages: list[Raw]


_batch = msgspec.json.Decoder(_Batch)


class _Call(NamedTuple):
    scope: str
    queue: str
    message: str
    verb: str
    query: Mapping[str, str]
    content: bytes
    header_key: str | None


class _Told(NamedTuple):
    """An answer's data, and what stands beside it."""

    data: Any
    status: int = 200
    beside: Mapping[str, Any] = {}
    headers: Mapping[str, str] = {}


class MemoryQueue:
    """A transport: `Client(scope="shop", transport=MemoryQueue({"shop": ["orders"]}))`.

    It takes the calls of the clients, in the same words, with the same checks and errors, and `POST /scopes`
    and `/queues` for others than those named. It knows no keys, rules, schemas, reviews and agents, and keeps
    `durability` out of it. Its clock is the machine's until `advance` sets it ahead.
    """

    def __init__(self, scopes: Mapping[str, Sequence[str]] = {}) -> None:
        self._ahead_ms = 0
        self._scopes: dict[str, MemoryScope] = {}
        for slug, queues in scopes.items():
            scope = self._scopes[slug] = MemoryScope(slug, self._now)
            scope.queues.update({queue: Rules(queue, "active") for queue in queues})

    def advance(self, seconds: float) -> None:
        """Time passes: leases end, delayed messages fall due."""
        self._ahead_ms += round(seconds * 1000)
        for scope in self._scopes.values():
            scope.sweep()
            scope.wake()

    def _now(self) -> int:
        return moments.now_ms() + self._ahead_ms

    async def send(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> Answer:
        # As a call over a network, it lets others run.
        await asyncio.sleep(0)
        try:
            if content is not None and len(content) > _LONGEST:
                raise QueueError(Code.SCAIQUEUE_MESSAGE_TOO_LARGE, "The request is larger than one may be.")
            answer = await self._route(method, path, content or b"{}", headers)
        except QueueError as error:
            body = {"status": "error", "error": error_body(error), "meta": {"request_id": ""}}
            return Answer(error.code.status, {}, msgspec.json.encode(body))
        body = {"data": answer.data, "meta": {"request_id": ""}, **answer.beside}
        return Answer(answer.status, answer.headers, msgspec.json.encode(body))

    @asynccontextmanager
    async def stream(
        self, path: str, headers: Mapping[str, str]
    ) -> AsyncIterator[tuple[Answer, AsyncIterator[bytes]]]:
        place, _, query = path.partition("?")
        scope = self._scope(unquote(place.split("/")[2]))
        types = parse_qs(query).get("type", ["*"])[0].split(",")
        after = headers.get("Last-Event-ID")
        yield Answer(200, {}, b""), _frames(scope, types, len(scope.events) if after is None else int(after))

    async def close(self) -> None:
        """What it holds stays, for the next client."""

    async def _route(self, method: str, path: str, content: bytes, headers: Mapping[str, str]) -> _Told:
        place, _, query = path.partition("?")
        for pattern, handle in self._routes:
            if found := pattern.fullmatch(f"{method} {place}"):
                names = {name: unquote(value) for name, value in found.groupdict().items()}
                call = _Call(
                    names.get("scope", ""),
                    names.get("queue", ""),
                    names.get("message", ""),
                    names.get("verb", ""),
                    {name: values[-1] for name, values in parse_qs(query).items()},
                    content,
                    headers.get("Idempotency-Key"),
                )
                return await handle(self, call)
        raise QueueError(Code.NOT_FOUND)

    def _scope(self, slug: str) -> MemoryScope:
        if slug not in self._scopes:
            raise QueueError(Code.SCAIQUEUE_SCOPE_NOT_FOUND)
        return self._scopes[slug]

    async def _create_scope(self, call: _Call) -> _Told:
        asked = decode(msgspec.json.Decoder(CreateScope), call.content)
        if asked.slug in self._scopes:
            raise QueueError(Code.SLUG_CONFLICT)
        self._scopes[asked.slug] = MemoryScope(asked.slug, self._now)
        return _Told({"id": asked.slug, "slug": asked.slug, "state": "active"}, 201)

    async def _create_queue(self, call: _Call) -> _Told:
        scope, asked = self._scope(call.scope), decode(msgspec.json.Decoder(CreateQueue), call.content)
        if asked.slug in scope.queues:
            raise QueueError(Code.SLUG_CONFLICT)
        scope.queues[asked.slug] = Rules(
            asked.slug,
            state="active",
            ordering=asked.ordering,
            max_depth=asked.max_depth,
            overflow=asked.overflow_policy,
            max_retries=asked.max_retries,
            visibility_ms=(asked.visibility_timeout_s or Settings().visibility_timeout_s) * 1000,
            backoff=backoff_text(asked.backoff),
            require_token=asked.require_claim_token,
        )
        return _Told({"id": asked.slug, "slug": asked.slug, "state": "active"}, 201)

    async def _show_queue(self, call: _Call) -> _Told:
        scope = self._scope(call.scope)
        if call.queue not in scope.queues:
            raise QueueError(Code.SCAIQUEUE_QUEUE_NOT_FOUND)
        rules = scope.queues[call.queue]
        return _Told({"id": rules.slug, "slug": rules.slug, "state": rules.state, **scope.depths(rules.slug)})

    async def _turn(self, call: _Call) -> _Told:
        """Pause and resume."""
        scope, state = self._scope(call.scope), "paused" if call.verb == "pause" else "active"
        if call.queue not in scope.queues:
            raise QueueError(Code.SCAIQUEUE_QUEUE_NOT_FOUND)
        scope.queues[call.queue] = scope.queues[call.queue]._replace(state=state)
        scope.wake()
        return _Told({"id": call.queue, "slug": call.queue, "state": state})

    async def _publish(self, call: _Call) -> _Told:
        scope, asked = self._scope(call.scope), decode(_publish, call.content)
        message, replay = _published(scope, call.queue, asked, call.header_key)
        if replay:
            return _Told(message.shown(scope.slug), 200, headers={"Idempotent-Replay": "true"})
        return _Told(message.shown(scope.slug), 201)

    async def _publish_batch(self, call: _Call) -> _Told:
        scope = self._scope(call.scope)
        if call.queue not in scope.queues:
            raise QueueError(Code.SCAIQUEUE_QUEUE_NOT_FOUND)
        results: list[dict[str, Any]] = []
        for raw in decode(_batch, call.content).messages:
            try:
                message, replay = _published(scope, call.queue, decode(_publish, bytes(raw)), None)
            except QueueError as error:
                results.append({"error": error_body(error)})
            else:
                shown = (
                    {"idempotent_replay": True} if replay else {"state": message.shown(scope.slug)["state"]}
                )
                results.append({"id": message.id, **shown})
        return _Told(results)

    async def _claim(self, call: _Call) -> _Told:
        asked = decode(_claim, call.content)
        return _Told(await self._taken(self._scope(call.scope), [call.queue], asked, "ordered"))

    async def _claim_many(self, call: _Call) -> _Told:
        asked = decode(_claim_many, call.content)
        return _Told(await self._taken(self._scope(call.scope), asked.queues, asked, asked.strategy))

    async def _taken(
        self, scope: MemoryScope, queues: Sequence[str], asked: Claim, strategy: str
    ) -> list[dict[str, Any]]:
        async def take() -> list[Stored]:
            return scope.claim(queues, asked, strategy)

        return [one.leased(scope.slug) for one in await _waited(scope, asked.wait_s, take)]

    async def _settle(self, call: _Call) -> _Told:
        asked = decode(_VERBS[call.verb], _with_id(call.content, call.message))
        return _Told(settle(self._scope(call.scope), call.verb, call.message, asked))

    async def _settle_batch(self, call: _Call) -> _Told:
        scope, asked = self._scope(call.scope), decode(_items, call.content)
        results = []
        for raw in asked.items:
            try:
                item = decode(_VERBS[call.verb], bytes(raw))
                results.append(settle(scope, call.verb, item.id, item))
            except QueueError as error:
                results.append(SettledItem(error=error_body(error)))
        if asked.claim is None:
            return _Told(results)
        return _Told(results, beside=await self._next(scope, asked.claim))

    async def _next(self, scope: MemoryScope, asked: NextClaim) -> dict[str, Any]:
        queues = asked.queues or [str(asked.queue)]
        try:
            return {"claimed": await self._taken(scope, queues, asked, asked.strategy)}
        except QueueError as error:
            return {"claimed": [], "claim_error": error_body(error)}

    async def _cancel(self, call: _Call) -> _Told:
        return _Told(cancel(self._scope(call.scope), call.message))

    async def _show(self, call: _Call) -> _Told:
        scope = self._scope(call.scope)
        scope.sweep()
        return _Told(_found(scope, call.message).shown(scope.slug))

    async def _wait(self, call: _Call) -> _Told:
        scope = self._scope(call.scope)

        async def ended() -> bool:
            scope.sweep()
            record = _found(scope, call.message).record
            return State(record.state).terminal or record.queue == DEAD_LETTER

        await _waited(scope, float(call.query.get("timeout_s", 0)), ended)
        return _Told(_found(scope, call.message).shown(scope.slug))

    _routes: tuple[tuple[re.Pattern[str], Callable[[MemoryQueue, _Call], Awaitable[_Told]]], ...] = tuple(
        (re.compile(pattern), handle)
        for pattern, handle in (
            (r"POST /scopes", _create_scope),
            (rf"POST {_SCOPE}/queues", _create_queue),
            (rf"GET {_SCOPE}{_QUEUE}", _show_queue),
            (rf"POST {_SCOPE}{_QUEUE}/(?P<verb>pause|resume)", _turn),
            (rf"POST {_SCOPE}{_QUEUE}/messages", _publish),
            (rf"POST {_SCOPE}{_QUEUE}/messages/batch", _publish_batch),
            (rf"POST {_SCOPE}{_QUEUE}/messages/claim", _claim),
            (rf"POST {_SCOPE}/messages/claim", _claim_many),
            (rf"POST {_SCOPE}/messages{_VERB}", _settle_batch),
            (rf"POST {_SCOPE}/messages{_MESSAGE}{_VERB}", _settle),
            (rf"POST {_SCOPE}/messages{_MESSAGE}/cancel", _cancel),
            (rf"GET {_SCOPE}/messages{_MESSAGE}", _show),
            (rf"GET {_SCOPE}/messages{_MESSAGE}/wait", _wait),
        )
    )


def _found(scope: MemoryScope, message_id: str) -> Stored:
    if message_id not in scope.messages:
        raise QueueError(Code.SCAIQUEUE_MESSAGE_NOT_FOUND)
    return scope.messages[message_id]


def _with_id(content: bytes, message_id: str) -> bytes:
    return msgspec.json.encode({**msgspec.json.decode(content, type=dict[str, Raw]), "id": message_id})


def _published(scope: MemoryScope, queue: str, asked: Publish, key: str | None) -> tuple[Stored, bool]:
    body = bytes(asked.body) or NULL_BODY
    if not is_json_type(asked.content_type):
        body = b64decode(msgspec.json.decode(body, type=str))
    if len(body) > _LIMIT:
        raise refusals.too_large(_LIMIT)
    return scope.publish(queue, asked, body, key)


async def _waited(scope: MemoryScope, seconds: float, look: Callable[[], Awaitable[Any]]) -> Any:
    """What `look` finds, at once, after a change, or when something falls due; at the latest in `seconds`."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while True:
        changed = scope.changed
        found, left = await look(), until - loop.time()
        if found or left <= 0:
            return found
        due = scope.next_due()
        if due is not None:
            left = min(left, max(0.001, (due - scope.now()) / 1000))
        try:
            await asyncio.wait_for(changed.wait(), left)
        except TimeoutError:
            continue


async def _frames(scope: MemoryScope, types: Sequence[str], after: int) -> AsyncIterator[bytes]:
    yield b"id: %d\n\n" % after
    while True:
        changed = scope.changed
        for happened in scope.events[after:]:
            after = happened.number
            event = happened.told(scope.slug)
            if any(fnmatchcase(event["event_type"], pattern) for pattern in types):
                yield b"id: %d\ndata: %b\n\n" % (after, msgspec.json.encode(event))
        try:
            await asyncio.wait_for(changed.wait(), _KEPT_ALIVE_S)
        except TimeoutError:
            yield b": nothing new\n\n"
