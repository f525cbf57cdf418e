"""A closed stream's chunks, joined, become a message of its queue: once, whoever dies meanwhile.

The message is published as any other, with the stream's id as its idempotency key; then the stream is told.
Whoever closes a stream does that at once. What is left over, since a process died or the queue took nothing,
is tried again by every process.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog
from msgspec import Raw
from redis.asyncio import Redis

from scaiqueue.api.drafts import Publish, make_draft
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.keys import Shard, StreamKeys
from scaiqueue.moments import now_ms
from scaiqueue.queueing.directory import Directory, QueueEntry, ScopeEntry
from scaiqueue.queueing.header import is_json_type
from scaiqueue.queueing.message import is_json
from scaiqueue.queueing.publish import Publisher
from scaiqueue.review.spec import Spec
from scaiqueue.rows.streams import StreamRow
from scaiqueue.scripts import binding
from scaiqueue.scripts.runner import ScriptRunner
from scaiqueue.settings import Settings
from scaiqueue.streams import metrics
from scaiqueue.streams.reading import StreamReader
from scaiqueue.streams.template import read_template

LOOK_EVERY_S = 1.0
STREAMS_A_LOOK = 20
# However short a queue's own window is: a stream may have to wait for long.
IDEMPOTENCY_MS = 86_400_000
MAX_REASON = 1000
SYSTEM = "system:assembler"

_log = structlog.get_logger("scaiqueue.streams")

Prepare = Callable[[QueueEntry, Publish], Awaitable[Spec | None]]


def publish_of(stream: StreamRow, body: bytes) -> Publish:
    """What the stream asks to be published. Raises VALIDATION_ERROR."""
    template = read_template(stream.template)
    if is_json_type(template.content_type):
        if not is_json(body):
            raise QueueError(
                Code.VALIDATION_ERROR, "The content is not JSON.", details=(Detail("body", "Not JSON"),)
            )
        raw = Raw(body)
    else:
        raw = Raw(b'"' + b64encode(body) + b'"')
    try:
        asked = msgspec.convert({"type": "stream", **template.message}, Publish)
    except msgspec.ValidationError as error:
        raise QueueError(Code.VALIDATION_ERROR, str(error)) from None
    return msgspec.structs.replace(
        asked, body=raw, content_type=template.content_type, idempotency_key=stream.id
    )


class Assembler:
    """`rows_lead`: Redis is away, and nothing to be done."""

    def __init__(
        self,
        redis: Redis,
        runner: ScriptRunner,
        reader: StreamReader,
        directory: Directory,
        publisher: Publisher,
        prepare: Prepare,
        settings: Settings,
        rows_lead: Callable[[], bool],
    ) -> None:
        self._redis = redis
        self._runner = runner
        self._reader = reader
        self._directory = directory
        self._publisher = publisher
        self._prepare = prepare
        self._settings = settings
        self._rows_lead = rows_lead

    async def assemble(self, scope: ScopeEntry, stream_id: str) -> StreamRow:
        """Publish a closed stream's message; answers the stream, still closed where its queue takes none."""
        stream, body = await self._reader.content(scope, stream_id)
        if stream.state != "closed":
            return stream
        try:
            message_id = await self._published(scope, stream, body)
        except QueueError as error:
            if error.code.retryable:
                _log.info("stream waits to be assembled", stream=stream_id, code=error.code.name)
                await self._end(scope, stream_id, "later", "")
                return stream
            return await self._end(scope, stream_id, "failed", _reason(error))
        return await self._end(scope, stream_id, "assembled", message_id)

    async def _published(self, scope: ScopeEntry, stream: StreamRow, body: bytes) -> str:
        queue = await self._directory.queue(scope, stream.queue)
        asked = publish_of(stream, body)
        review = await self._prepare(queue, asked)
        draft = make_draft(asked, queue, stream.actor or SYSTEM, self._settings, review=review)
        # The stream may only be told once the message can't be lost any more.
        draft.committed = True
        assert draft.options is not None
        draft.options.idem_ms = max(draft.options.idem_ms or 0, IDEMPOTENCY_MS)
        (result,) = await self._publisher.publish(scope, [draft])
        if isinstance(result, QueueError):
            raise result
        return result.id

    async def _end(self, scope: ScopeEntry, stream_id: str, verb: str, detail: str) -> StreamRow:
        keys = scope.keys.stream(stream_id)
        reply = await binding.end_stream(self._runner, scope.keys, keys, verb, SYSTEM, detail)
        if reply.items[0][0] == "OK" and verb != "later":
            metrics.streams_total.labels(verb).inc()
        return await self._reader.find(scope, stream_id)

    async def run(self) -> None:
        """Take up what was left over, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._rows_lead():
                continue
            try:
                await self.look()
            except Exception as error:
                # Whatever it is, without this loop nothing would be taken up any more.
                _log.warning("closed streams not looked at", error=f"{type(error).__name__}: {error}")

    async def look(self) -> None:
        """Once through the shards."""
        pipe = self._redis.pipeline(transaction=False)
        for number in range(self._settings.shards):
            pipe.zrangebyscore(Shard(number).closed_streams, "-inf", now_ms(), start=0, num=STREAMS_A_LOOK)
        found: list[list[bytes]] = await pipe.execute()
        for root in (root for roots in found for root in roots):
            await self._take_up(StreamKeys.parse(root.decode()))

    async def _take_up(self, keys: StreamKeys) -> None:
        try:
            scope = await self._directory.scope(keys.scope.tenant, keys.scope.scope_id)
            await self.assemble(scope, keys.stream_id)
        except Exception as error:
            _log.warning("stream not assembled", stream=keys.root, error=f"{type(error).__name__}: {error}")


def _reason(error: QueueError) -> str:
    details: Any = "; ".join(f"{field}: {text}" for field, text in error.details[:5])
    text = f"{error.code.name}: {error.message}" + (f" ({details})" if details else "")
    return text.replace("\0", "").encode()[:MAX_REASON].decode(errors="ignore")
