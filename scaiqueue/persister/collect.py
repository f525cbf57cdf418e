"""Reads what the rows of a batch need from Redis, in two round trips, and makes the rows."""

from __future__ import annotations

from typing import Any

import msgspec
import structlog
from redis.asyncio import Redis

from scaiqueue.keys import DEAD_LETTER, ScopeKeys
from scaiqueue.persister.batch import Batch, Refused, Rows, ScopeBatch, Touched, event_rows
from scaiqueue.persister.message_rows import change_of, new_message
from scaiqueue.records import Flag, Version, decode_record
from scaiqueue.rows.bulk import IdempotencyRow

IDS_PER_CALL = 1000
# Plain numbers: the operators of an enumeration cost more than the rest of the loop.
HAS_OVERLAY, HAS_OUTCOME = int(Flag.overlay), int(Flag.outcome)
log = structlog.get_logger("scaiqueue.persister")


async def load_records(redis: Redis, batch: Batch) -> None:
    """The latest state record of every message of the batch."""
    calls = [(scope, ids) for scope in batch.scopes.values() for ids in _chunks(list(scope.messages))]
    replies = await _pipelined(redis, [("HMGET", scope.keys.key("state"), *ids) for scope, ids in calls])
    for (scope, ids), values in zip(calls, replies, strict=True):
        for message_id, raw in zip(ids, values, strict=True):
            touched = scope.messages[message_id]
            touched.raw = raw
            if raw is not None:
                try:
                    touched.record = decode_record(raw)
                except ValueError:
                    touched.record = None


def envelope_bytes(batch: Batch) -> int:
    """How much the bodies that this batch must read will weigh."""
    return sum(
        touched.record.size
        for scope in batch.scopes.values()
        for touched in scope.messages.values()
        if touched.new and touched.record is not None
    )


async def load_parts(redis: Redis, batch: Batch) -> None:
    """Envelopes of new messages; overlays and outcomes of those that have one."""
    calls: list[tuple[ScopeBatch, str, list[str]]] = []
    for scope in batch.scopes.values():
        wanted: dict[str, list[str]] = {"body": [], "overlay": [], "outcome": []}
        for message_id, touched in scope.messages.items():
            if touched.record is None:
                continue
            flags = touched.record.flags
            if touched.new:
                wanted["body"].append(message_id)
            if flags & HAS_OVERLAY:
                wanted["overlay"].append(message_id)
            if flags & HAS_OUTCOME:
                wanted["outcome"].append(message_id)
        calls += [(scope, part, ids) for part, all_ids in wanted.items() for ids in _chunks(all_ids)]
    replies = await _pipelined(redis, [("HMGET", scope.keys.key(part), *ids) for scope, part, ids in calls])
    for (scope, part, ids), values in zip(calls, replies, strict=True):
        field = "envelope" if part == "body" else part
        for message_id, value in zip(ids, values, strict=True):
            setattr(scope.messages[message_id], field, value or b"")


async def make_rows(redis: Redis, batch: Batch) -> Rows:
    """The rows of a batch whose records and parts are loaded. Ids without a record are left out: they are
    already forgotten, or a stranger made them up."""
    rows = Rows(events=event_rows(batch))
    keyed: list[tuple[ScopeKeys, str, str, str]] = []
    end = batch.end
    for scope in batch.scopes.values():
        forget: list[tuple[str, Version]] = []
        for message_id, touched in scope.messages.items():
            _add(rows, keyed, scope.keys, message_id, touched)
            record = touched.record
            if record is not None and 5 <= record.state <= 8:
                version = record.version
                if version <= end:
                    forget.append((message_id, version))
        if forget:
            rows.forget[scope.keys] = forget
    rows.inserts.sort(key=lambda row: row.change.id)
    rows.updates.sort(key=lambda row: row.id)
    if keyed:
        rows.idempotency = await _idempotency(redis, keyed)
    return rows


def _add(
    rows: Rows,
    keyed: list[tuple[ScopeKeys, str, str, str]],
    scope: ScopeKeys,
    message_id: str,
    touched: Touched,
) -> None:
    record = touched.record
    try:
        if record is None:
            if touched.raw is not None:
                raise ValueError("the state record can't be read")
        elif touched.new:
            row, header = new_message(message_id, touched, record, scope)
            rows.inserts.append(row)
            if header.idempotency_key is not None:
                keyed.append((scope, _published_to(touched), header.idempotency_key, message_id))
        else:
            rows.updates.append(change_of(message_id, touched, record))
    except (ValueError, IndexError) as error:
        rows.refused.append(refusal(scope.scope_id, message_id, touched, error))


def _published_to(touched: Touched) -> str:
    """The queue whose idempotency keys hold the message: an overflow may have sent it on at once."""
    first = str(msgspec.json.decode(touched.history[0])[1])
    if first == DEAD_LETTER and touched.record and touched.record.origin:
        return str(touched.record.origin[0])
    return first


def refusal(scope_id: str, message_id: str, touched: Touched, error: Exception) -> Refused:
    version = touched.record.version if touched.record else Version(0, 0)
    return Refused(scope_id, message_id, version, touched.raw or b"", touched.envelope, str(error)[:2000])


async def _idempotency(redis: Redis, keyed: list[tuple[ScopeKeys, str, str, str]]) -> list[IdempotencyRow]:
    """Rows of the keys that are still remembered; the value in Redis is `<message id> <digest>`."""
    keys = [scope.idempotency(queue, caller_key) for scope, queue, caller_key, _ in keyed]
    # A reply costs more than a key, and all keys of a shard lie in one slot.
    values, *ends = await _pipelined(redis, [("MGET", *keys), *(("PEXPIRETIME", key) for key in keys)])
    found: dict[str, IdempotencyRow] = {}
    for key, (scope, queue, _, message_id), value, expires_at in zip(keys, keyed, values, ends, strict=True):
        owner, _, digest = (value or b"").decode(errors="replace").partition(" ")
        if owner == message_id and expires_at > 0:
            found[key] = IdempotencyRow(
                scope.scope_id, queue, key.rpartition(":")[2], message_id, digest, expires_at
            )
    return sorted(found.values())


def _chunks(ids: list[str]) -> list[list[str]]:
    return [ids[start : start + IDS_PER_CALL] for start in range(0, len(ids), IDS_PER_CALL)]


async def _pipelined(redis: Redis, commands: list[tuple[str | int, ...]]) -> list[Any]:
    if not commands:
        return []
    async with redis.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command)
        return await pipe.execute()
