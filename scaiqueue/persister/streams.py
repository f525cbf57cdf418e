"""From journal entries of streams to their rows: the entries say which, Redis' hashes what they hold."""

from __future__ import annotations

from typing import Any

import msgspec
import structlog
from redis.asyncio import Redis

from scaiqueue.keys import ScopeKeys, StreamKeys
from scaiqueue.persister.pipeline import Command, pipelined
from scaiqueue.rows.streams import ChunkRow, StreamRow

log = structlog.get_logger("scaiqueue.persister")


class StreamNote(msgspec.Struct):
    """What an entry's detail says: `seqs` are the chunks that came with it, `bytes` their size, `published`
    the shard's count with them."""

    event: str
    stream: str
    queue: str = ""
    actor: str = ""
    seqs: list[int] = []
    bytes: int = 0
    published: int | None = None


read_note = msgspec.json.Decoder(StreamNote).decode


class StreamBatch(msgspec.Struct):
    """The streams of a batch by their root, and which of their chunks are new; `scope` is one of theirs."""

    touched: dict[str, dict[int, None]] = {}
    scope: ScopeKeys | None = None

    def add(self, scope: ScopeKeys, note: StreamNote) -> None:
        self.scope = scope
        root = scope.stream(note.stream).root
        self.touched.setdefault(root, {}).update(dict.fromkeys(note.seqs))

    async def rows(self, redis: Redis) -> tuple[list[StreamRow], list[ChunkRow]]:
        """What is gone from Redis is forgotten, and in the rows already, or a stranger made it up."""
        wanted = [(StreamKeys.parse(root), list(seqs)) for root, seqs in self.touched.items()]
        commands: list[Command] = []
        for keys, seqs in wanted:
            commands.append(("HGETALL", keys.key("meta")))
            if seqs:
                commands.append(("HMGET", keys.key("chunks"), *seqs))
        replies = iter(await pipelined(redis, commands))
        streams: list[StreamRow] = []
        chunks: list[ChunkRow] = []
        for keys, seqs in wanted:
            stream = stored_stream(keys, next(replies))
            found = next(replies) if seqs else []
            if stream is not None:
                streams.append(stream)
                pieces = zip(seqs, found, strict=True)
                chunks += [ChunkRow(keys.stream_id, seq, data) for seq, data in pieces if data is not None]
        return streams, chunks


def stored_stream(keys: StreamKeys, reply: Any) -> StreamRow | None:
    """From the reply to HGETALL of its hash, whatever the protocol; None where none can be read."""
    if not isinstance(reply, dict):
        parts = list(reply)
        reply = dict(zip(parts[::2], parts[1::2], strict=True))
    if not reply:
        return None
    try:
        values = {name.decode(): value.decode() for name, value in reply.items()}
        place = {"tenant_id": keys.scope.tenant, "scope_id": keys.scope.scope_id, "id": keys.stream_id}
        return msgspec.convert({**values, **place, "shard": keys.scope.shard.number}, StreamRow, strict=False)
    except (UnicodeDecodeError, msgspec.ValidationError) as error:
        log.error("stream_unreadable", stream=keys.root, error=str(error))
        return None
