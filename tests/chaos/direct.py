"""The same calls through the scripts, as another service would make them: EVALSHA only, never loading."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from typing import Any, TypeVar

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from uuid_utils import uuid7

from scaiqueue.keys import ScopeKeys
from scaiqueue.records import decode_record, split_envelope
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import (
    ClaimItem,
    CompleteItem,
    ExtendItem,
    FailItem,
    ReleaseItem,
)
from scaiqueue.scripts.replies import NotReadyError, Reply
from scaiqueue.scripts.runner import ScriptRunner
from tests.chaos.client import Answer, Draft
from tests.chaos.history import Claim, Delivery, History, Publish, Settle
from tests.scripts.direct import Handed, handed_out, publish_item

ANSWER_WITHIN_S = 3.0
T = TypeVar("T")


async def _never() -> bool:
    return False


class DirectClient:
    """`url` is Redis, by whatever way."""

    def __init__(self, url: str, scope: ScopeKeys, history: History) -> None:
        self.redis = Redis.from_url(
            url,
            socket_timeout=ANSWER_WITHIN_S,
            socket_connect_timeout=ANSWER_WITHIN_S,
            retry=Retry(NoBackoff(), 0),
        )
        self.runner = ScriptRunner(self.redis, may_reload=_never)
        self.scope = scope
        self.history = history

    async def close(self) -> None:
        await self.redis.aclose()

    async def publish(self, draft: Draft) -> Publish:
        body = msgspec.json.encode(draft.body)
        message_id = str(uuid7())
        header = msgspec.json.encode({"type": "chaos", "idempotency_key": draft.key})
        known = {"idem": 1, "digest": sha256(body).hexdigest(), "idem_ms": 3_600_000}
        item = publish_item(message_id, header, body, rank=draft.rank, **known)
        queue = self.scope.queue(draft.queue)
        keys = [self.scope.idempotency(draft.queue, draft.key)]
        begun = time.monotonic()
        answer = await _answer(
            lambda: binding.publish(self.runner, self.scope, [queue], keys, "direct", 0, [item])
        )
        of = _item(answer, 0, "OK", "DUPLICATE")
        if of.outcome == "ok" and of.data[0] == "DUPLICATE":
            message_id = of.data[1].decode()
        record = Publish(
            begun=begun, ended=time.monotonic(), outcome=of.outcome, code=of.code, via="script",
            key=draft.key, queue=draft.queue, rank=draft.rank, durability="indexed",
            id=message_id if of.outcome == "ok" else "",
        )  # fmt: skip
        self.history.add(record)
        return record

    async def claim(self, queue: str, holder: str, want: int, lease_ms: int, claim_id: str = "") -> Claim:
        keys = [self.scope.claim(f"{holder} {queue}", claim_id)] if claim_id else []
        item = ClaimItem(holder, want, lease_ms, 1 if claim_id else "")
        queues = [self.scope.queue(queue)]
        begun = time.monotonic()
        answer = await _answer(
            lambda: binding.claim(self.runner, self.scope, queues, keys, "ordered", [item])
        )
        of = _item(answer, 0, "OK", "EMPTY", "MORE")
        record = Claim(
            begun=begun, ended=time.monotonic(), outcome=of.outcome, code=of.code, via="script",
            queue=queue, holder=holder, lease_ms=lease_ms, claim_id=claim_id,
            given=[_delivery(one, of.data[2]) for one in handed_out(of.data or [])],
        )  # fmt: skip
        self.history.add(record)
        return record

    async def settle(self, verb: str, holder: str, given: Sequence[Delivery], lease_ms: int) -> list[Settle]:
        begun = time.monotonic()
        answer = await _answer(lambda: self._settle(verb, holder, given, lease_ms))
        ended = time.monotonic()
        settles = []
        for place, one in enumerate(given):
            of = _item(answer, place, "OK")
            if of.code == "NOT_FOUND":
                # The rows may hold its end; a direct caller that wants to know asks the API.
                of = Answer("unknown", of.code)
            end = int(of.data[1]) if of.outcome == "ok" and verb == "extend" else 0
            settles.append(
                Settle(
                    begun=begun, ended=ended, outcome=of.outcome, code=of.code, via="script",
                    verb=verb, id=one.id, token=one.token, lease_end=end,
                )
            )  # fmt: skip
            self.history.add(settles[-1])
        return settles

    async def _settle(self, verb: str, holder: str, given: Sequence[Delivery], lease_ms: int) -> Reply:
        scope, runner = self.scope, self.runner
        match verb:
            case "complete":
                done = [CompleteItem(one.id, one.token, holder) for one in given]
                return await binding.complete(runner, scope, done)
            case "fail":
                failed = [FailItem(one.id, one.token, holder, "chaos") for one in given]
                return await binding.fail(runner, scope, failed)
            case "release":
                return await binding.release(
                    runner, scope, [ReleaseItem(one.id, one.token, holder) for one in given]
                )
        longer = [ExtendItem(one.id, one.token, holder, lease_ms) for one in given]
        return await binding.extend(runner, scope, longer)


async def _answer(call: Callable[[], Awaitable[Reply]]) -> Answer:
    try:
        return Answer("ok", "", await call())
    except NotReadyError:
        return Answer("fail", "NOT_READY")
    except ResponseError as error:
        refused = str(error).startswith(("OOM", "BADARG"))
        return Answer("fail" if refused else "unknown", str(error).split()[0])
    except (RedisError, OSError, TimeoutError) as error:
        return Answer("unknown", type(error).__name__)


def _item(answer: Answer, place: int, *good: str) -> Answer:
    if answer.outcome != "ok":
        return answer
    item: list[Any] = answer.data.items[place]
    return Answer("ok", "", item) if item[0] in good else Answer("fail", item[0])


def _delivery(message: Handed, lease_end: bytes) -> Delivery:
    key = msgspec.json.decode(split_envelope(message.envelope).body)["key"]
    attempts = decode_record(message.record).attempts
    return Delivery(message.id.decode(), key, message.token.decode(), attempts, int(lease_end))
