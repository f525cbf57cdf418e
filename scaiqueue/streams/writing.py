"""Open, append, close, abort: one script call each, answered when what it did is as durable as asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from uuid_utils import uuid7

from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.persister.watermarks import Watermarks
from scaiqueue.queueing import refusals
from scaiqueue.queueing.configure import Repairer
from scaiqueue.queueing.directory import QueueEntry, ScopeEntry
from scaiqueue.records import Version
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import StreamItem
from scaiqueue.scripts.replies import Reply
from scaiqueue.scripts.runner import Arg, ScriptRunner
from scaiqueue.streams import metrics
from scaiqueue.streams.template import Template, encode_template


class Bounds(NamedTuple):
    max_bytes: int
    max_chunks: int
    idle_ms: int


class _Settings(NamedTuple):
    """What only an open says."""

    queue: str = ""
    template: Arg = ""
    max_bytes: Arg = ""
    max_chunks: Arg = ""
    idle_ms: Arg = ""


class Progress(NamedTuple):
    """A stream after a call, as its fields are named."""

    state: str
    next_seq: int
    highest_seq: int
    final_seq: int
    chunk_count: int
    byte_count: int


class Appended(NamedTuple):
    """`results` in the order of the chunks: `stored`, `duplicate`, or what is wrong."""

    results: list[str | QueueError]
    progress: Progress


class StreamWriter:
    """Raises SCAIQUEUE_STREAM_NOT_FOUND, SCAIQUEUE_SCOPE_PAUSED, SCAIQUEUE_BACKLOG_FULL,
    SCAIQUEUE_INVALID_STATE for a stream that has ended, and SCAIQUEUE_UNAVAILABLE where the commit was not
    seen in time."""

    def __init__(
        self, runner: ScriptRunner, watermarks: Watermarks, repairer: Repairer, commit_timeout_s: float
    ) -> None:
        self._runner = runner
        self._watermarks = watermarks
        self._repairer = repairer
        self._commit_timeout_s = commit_timeout_s

    async def open(self, queue: QueueEntry, template: Template, actor: str, bounds: Bounds) -> str:
        """The new stream's id."""
        stream_id = str(uuid7())
        settings = _Settings(queue.slug, encode_template(template), *bounds)
        reply = await self._call(queue.scope, stream_id, "open", actor, settings, ())
        _last(reply)
        metrics.streams_total.labels("opened").inc()
        if template.committed:
            await self._committed(queue.scope, reply.entry, None)
        return stream_id

    async def append(
        self, scope: ScopeEntry, stream_id: str, actor: str, chunks: Sequence[StreamItem], *, committed: bool
    ) -> Appended:
        """Chunks in any order; one that is there already does no harm."""
        epoch = self._watermarks.mark(scope.keys.shard.number).epoch
        reply = await self._call(scope, stream_id, "append", actor, _NOTHING, chunks)
        progress = _last(reply)
        results = [
            self._judged(words, chunk, progress)
            for words, chunk in zip(reply.items[:-1], chunks, strict=True)
        ]
        if committed:
            await self._committed(scope, reply.entry, epoch if "duplicate" in results else None)
        return Appended(results, progress)

    async def close(self, scope: ScopeEntry, stream_id: str, actor: str) -> Progress | None:
        """Where chunks are missing, how far it is, with the state `open`. None: it was closed before."""
        reply = await self._call(scope, stream_id, "close", actor, _NOTHING, ())
        if reply.items[-1][0] == "INVALID_STATE" and reply.items[-1][1] != b"aborted":
            return None
        progress = _last(reply)
        if progress.state == "closed":
            metrics.streams_total.labels("closed").inc()
        return progress

    async def abort(self, scope: ScopeEntry, stream_id: str, actor: str, reason: str) -> None:
        """Once more does no harm."""
        reply = await binding.end_stream(
            self._runner, scope.keys, scope.keys.stream(stream_id), "abort", actor, reason
        )
        words = reply.items[0]
        if words[0] == "INVALID_STATE" and words[1] == b"aborted":
            return
        if words[0] != "OK":
            raise _refusal(words)
        metrics.streams_total.labels("aborted").inc()
        await self._committed(scope, reply.entry, None)

    async def _call(
        self,
        scope: ScopeEntry,
        stream_id: str,
        verb: str,
        actor: str,
        settings: _Settings,
        chunks: Sequence[StreamItem],
    ) -> Reply:
        keys, (queue, template, *bounds) = scope.keys.stream(stream_id), settings
        most_bytes, most_chunks, idle_ms = bounds

        async def once() -> Reply:
            return await binding.stream(
                self._runner, scope.keys, keys, verb, actor, queue, template, most_bytes, most_chunks,
                idle_ms, chunks,
            )  # fmt: skip

        reply = await once()
        if reply.items[-1] == ["NOT_FOUND", b"scope"] and await self._repairer.repair(scope, set()):
            reply = await once()
        return reply

    @staticmethod
    def _judged(words: list[Any], chunk: StreamItem, progress: Progress) -> str | QueueError:
        place = f"chunk {int(chunk.seq)}"
        match words[0]:
            case "OK":
                metrics.chunks_total.labels("stored").inc()
                metrics.bytes_total.inc(len(chunk.data) if isinstance(chunk.data, bytes) else 0)
                return "stored"
            case "DUPLICATE":
                metrics.chunks_total.labels("duplicate").inc()
                return "duplicate"
            case "FULL":
                metrics.chunks_total.labels("full").inc()
                kind = words[1].decode()
                message = f"The stream takes at most {words[2]} {kind}."
                return QueueError(
                    Code.SCAIQUEUE_STREAM_FULL, message, details=(Detail(kind, f"At most {words[2]}"),)
                )
        metrics.chunks_total.labels("conflict").inc()
        final = progress.final_seq
        text = "It was sent before, with other content"
        if final >= 0 and int(chunk.seq) > final:
            text = f"Chunk {final} is the final one"
        elif chunk.final:
            text = "It is not the last one, or was sent before without `final`"
        return QueueError(
            Code.SCAIQUEUE_CHUNK_CONFLICT, f"Not taken: {place}. {text}.", details=(Detail("seq", text),)
        )

    async def _committed(self, scope: ScopeEntry, entry: Version | None, replayed: int | None) -> None:
        """Wait for the entry, and for what an earlier call of the epoch `replayed` wrote."""
        shard, timeout = scope.keys.shard.number, self._commit_timeout_s
        seen = entry is None or await self._watermarks.wait(shard, entry, timeout)
        if seen and replayed is not None:
            seen = await self._watermarks.wait_replayed(shard, replayed, timeout)
        if not seen:
            raise refusals.unavailable("The rows' commit was not seen in time.")


_NOTHING = _Settings()


def _last(reply: Reply) -> Progress:
    """How far the stream is. Raises what the call's refusal means."""
    word, *rest = reply.items[-1]
    if word not in ("OK", "MORE"):
        raise _refusal(reply.items[-1])
    return Progress(rest[0].decode(), *rest[1:])


def _refusal(words: list[Any]) -> QueueError:
    if words == ["NOT_FOUND", b"stream"]:
        return QueueError(Code.SCAIQUEUE_STREAM_NOT_FOUND)
    if words[0] == "INVALID_STATE":
        state = words[1].decode()
        return QueueError(
            Code.SCAIQUEUE_INVALID_STATE, f"The stream is {state}.", details=(Detail("state", state),)
        )
    return refusals.of_reply(words)
