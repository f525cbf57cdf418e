"""Reads what the rows of a batch need from Redis, in two round trips at most, and makes the rows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from operator import itemgetter

from redis.asyncio import Redis

from scaiqueue.keys import DEAD_LETTER, ScopeKeys
from scaiqueue.persister.batch import Batch, Refused, Rows, ScopeBatch, event_rows
from scaiqueue.persister.message_rows import Header, History, change_of, heading_of, split
from scaiqueue.persister.pipeline import pipelined
from scaiqueue.records import Flag, Version, decode_record, without_shared
from scaiqueue.rows.bulk import Change, ChangedMessage, CopyRow, Heading, IdempotencyRow, NewMessage

IDS_PER_CALL = 1000
# So few envelopes are read together with the records, whatever they weigh.
FEW = 32
# After so many rows the event loop has a turn.
ROWS_PER_TURN = 250
# Plain numbers: the operators of an enumeration cost more than the rest of the loop.
HAS_OVERLAY, HAS_OUTCOME = int(Flag.overlay), int(Flag.outcome)
HAS_PARTS = HAS_OVERLAY | HAS_OUTCOME
SHARES = int(Flag.shared_body)
# Places in a state record.
FLAGS, SEQ, SIZE, CREATED, VERSION = 34, slice(35, 41), slice(43, 47), slice(48, 54), slice(11, 20)
SHORTEST = 56


async def load_records(redis: Redis, batch: Batch) -> None:
    """The latest state record of every message of the batch, and the envelopes of a few new ones."""
    calls = _Calls(redis)
    for scope in batch.scopes.values():
        calls.add(scope, "state", list(scope.messages))
    new = {root: _new_ids(scope) for root, scope in batch.scopes.items()}
    few = sum(map(len, new.values())) <= FEW
    for root, scope in batch.scopes.items() if few else ():
        calls.add(scope, "body", new[root])
    for scope in batch.scopes.values():
        scope.records = []
    for scope, part, ids, values in await calls.run():
        if part == "state":
            scope.records += values
        else:
            scope.envelopes.update(zip(ids, values, strict=True))


def envelope_bytes(batch: Batch) -> int:
    """How much the bodies that this batch must read will weigh; one that several messages share counts
    once."""
    weights: dict[str, int] = {}
    for scope in batch.scopes.values():
        for (message_id, history), raw in zip(scope.messages.items(), scope.records, strict=True):
            if history.new and raw is not None:
                weights[_shared_id(raw) or message_id] = int.from_bytes(raw[SIZE])
    return sum(weights.values())


async def load_parts(redis: Redis, batch: Batch) -> None:
    """Envelopes of new messages; overlays and outcomes of those that have one."""
    calls = _Calls(redis)
    for scope in batch.scopes.values():
        if not scope.envelopes:
            calls.add(scope, "body", _new_ids(scope))
        flagged = [
            (message_id, raw[FLAGS])
            for message_id, raw in zip(scope.messages, scope.records, strict=True)
            if raw is not None and len(raw) >= SHORTEST and raw[FLAGS] & HAS_PARTS
        ]
        calls.add(scope, "shared", _shared_ids(scope))
        calls.add(scope, "overlay", [name for name, flags in flagged if flags & HAS_OVERLAY])
        calls.add(scope, "outcome", [name for name, flags in flagged if flags & HAS_OUTCOME])
    for scope, part, ids, values in await calls.run():
        kept = {
            "body": scope.envelopes,
            "shared": scope.shared,
            "overlay": scope.overlays,
            "outcome": scope.outcomes,
        }[part]
        kept.update(zip(ids, values, strict=True))


async def make_rows(redis: Redis, batch: Batch) -> Rows:
    """The rows of a batch whose records and parts are loaded. Ids without a record are left out: they are
    already forgotten, or a stranger made them up."""
    rows = Rows(events=event_rows(batch))
    keyed: list[_Keyed] = []
    for scope in batch.scopes.values():
        add = _Maker(scope, rows, keyed).add
        known = list(zip(scope.messages.items(), scope.records, strict=True))
        for start in range(0, len(known), ROWS_PER_TURN):
            for (message_id, history), raw in known[start : start + ROWS_PER_TURN]:
                if raw is not None:
                    add(message_id, history, raw)
            await asyncio.sleep(0)
        forget = _committed(scope, batch.end)
        if forget:
            rows.forget[scope.keys] = forget
    rows.inserts.sort(key=itemgetter(0))
    rows.updates.sort(key=itemgetter(0))
    if keyed:
        rows.idempotency = await _idempotency(redis, keyed)
    if batch.streams.touched:
        rows.streams, rows.chunks = await batch.streams.rows(redis)
    return rows


_Keyed = tuple[ScopeKeys, str, str, str]


class _Maker:
    """Makes the rows of one scope; what messages have in common is made once."""

    def __init__(self, scope: ScopeBatch, rows: Rows, keyed: list[_Keyed]) -> None:
        self.scope = scope
        self.rows = rows
        self.keyed = keyed
        self._changes: dict[tuple[bytes, History, bytes, bytes], Change] = {}
        self._headings: dict[bytes, tuple[Heading, Header]] = {}

    def add(self, message_id: str, history: History, raw: bytes) -> None:
        try:
            change = self._change(message_id, history, raw)
            if not history.new:
                self.rows.updates.append(ChangedMessage(message_id, change))
                return
            head, body = split(self._envelope(message_id, history, raw))
            found = self._headings.get(head)
            if found is None:
                found = self._headings[head] = heading_of(self.scope.keys, head)
            heading, header = found
            seq, created_at = int.from_bytes(raw[SEQ]), int.from_bytes(raw[CREATED])
            self.rows.inserts.append(NewMessage(message_id, seq, created_at, body, change, heading))
            if header.idempotency_key is not None:
                queue = self._published_to(history, raw)
                self.keyed.append((self.scope.keys, queue, header.idempotency_key, message_id))
        except (ValueError, IndexError) as error:
            self.rows.refused.append(refusal(self.scope, message_id, raw, error))

    def _envelope(self, message_id: str, history: History, raw: bytes) -> bytes:
        """A copy for a subscription has the header of the message it shares an envelope with, and no body."""
        shared = _shared_id(raw)
        if not shared:
            return self.scope.envelopes.get(message_id) or b""
        envelope = self.scope.shared.get(shared) or b""
        if shared == message_id:
            return envelope
        self.rows.copies.append(CopyRow(message_id, shared))
        return envelope[: envelope.find(b"\n") + 1]

    def _change(self, message_id: str, history: History, raw: bytes) -> Change:
        if len(raw) < SHORTEST:
            raise ValueError("the state record can't be read")
        overlay = outcome = b""
        if raw[FLAGS] & HAS_PARTS:
            overlay = self.scope.overlays.get(message_id) or b""
            outcome = self.scope.outcomes.get(message_id) or b""
        whole = raw
        if raw[FLAGS] & SHARES:
            raw, _ = without_shared(raw)
        # All of the record but what is each message's own: its number, its size, when it was created, whose
        # envelope it shares.
        common = raw[:35] + raw[41:43] + raw[47:48] + raw[54:]
        key = (common, history, overlay, outcome)
        change = self._changes.get(key)
        if change is None:
            change = self._changes[key] = change_of(decode_record(whole), history, overlay, outcome)
        return change

    @staticmethod
    def _published_to(history: History, raw: bytes) -> str:
        """The queue whose idempotency keys hold the message: an overflow may have sent it on at once."""
        if history.queue == DEAD_LETTER and (origin := decode_record(raw).origin):
            return str(origin[0])
        return history.queue


def _committed(scope: ScopeBatch, end: Version) -> list[tuple[str, str]]:
    """Terminal messages that have no transition after `end`, with their versions."""
    last = end.epoch.to_bytes(3) + end.n.to_bytes(6) if end.n >= 0 else b""
    if not last:
        # Before an epoch's first entry, which is not in the rows, all of the epochs before are.
        last = max(end.epoch - 1, 0).to_bytes(3) + b"\xff" * 6
    # "" for versions after the end.
    versions: dict[bytes, str] = {}
    found = []
    for message_id, raw in zip(scope.messages, scope.records, strict=True):
        if raw is None or len(raw) < SHORTEST or not 5 <= raw[0] <= 8:
            continue
        packed = raw[VERSION]
        version = versions.get(packed)
        if version is None:
            version = versions[packed] = str(version_of(raw)) if packed <= last else ""
        if version:
            found.append((message_id, version))
    return found


def version_of(raw: bytes) -> Version:
    """Of a state record."""
    return Version(int.from_bytes(raw[11:14]), int.from_bytes(raw[14:20]))


async def terminal_ids(redis: Redis, batch: Batch, end: Version) -> dict[ScopeKeys, list[tuple[str, str]]]:
    """What of a batch is terminal and has nothing after `end`, with the versions."""
    await load_records(redis, batch)
    return {scope.keys: ids for scope in batch.scopes.values() if (ids := _committed(scope, end))}


def refusal(scope: ScopeBatch, message_id: str, raw: bytes, error: Exception) -> Refused:
    envelope = scope.envelopes.get(message_id) or b""
    return Refused(scope.keys.scope_id, message_id, version_of(raw), raw, envelope, str(error)[:2000])


async def _idempotency(redis: Redis, keyed: list[_Keyed]) -> list[IdempotencyRow]:
    """Rows of the keys that are still remembered; the value in Redis is `<message id> <digest>`."""
    keys = [scope.idempotency(queue, caller_key) for scope, queue, caller_key, _ in keyed]
    # A reply costs more than a key, and all keys of a shard lie in one slot.
    values, *ends = await pipelined(redis, [("MGET", *keys), *(("PEXPIRETIME", key) for key in keys)])
    found: dict[str, IdempotencyRow] = {}
    for key, (scope, queue, _, message_id), value, expires_at in zip(keys, keyed, values, ends, strict=True):
        owner, _, digest = (value or b"").decode(errors="replace").partition(" ")
        if owner == message_id and expires_at > 0:
            found[key] = IdempotencyRow(
                scope.scope_id, queue, key.rpartition(":")[2], message_id, digest, expires_at
            )
    return sorted(found.values())


def _shared_id(raw: bytes) -> str:
    """Under which a record's envelope lies if it shares one, else ""."""
    return without_shared(raw)[1] if len(raw) >= SHORTEST and raw[FLAGS] & SHARES else ""


def _shared_ids(scope: ScopeBatch) -> list[str]:
    """Of all new messages, each once."""
    new = zip(scope.messages.values(), scope.records, strict=True)
    found = {_shared_id(raw) for history, raw in new if history.new and raw is not None}
    return sorted(found - {""})


def _new_ids(scope: ScopeBatch) -> list[str]:
    return [message_id for message_id, history in scope.messages.items() if history.new]


class _Calls:
    """HMGETs of one round trip."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._calls: list[tuple[ScopeBatch, str, list[str]]] = []

    def add(self, scope: ScopeBatch, part: str, ids: list[str]) -> None:
        for start in range(0, len(ids), IDS_PER_CALL):
            self._calls.append((scope, part, ids[start : start + IDS_PER_CALL]))

    async def run(self) -> Iterable[tuple[ScopeBatch, str, list[str], list[bytes | None]]]:
        commands = [("HMGET", scope.keys.key(part), *ids) for scope, part, ids in self._calls]
        replies = await pipelined(self.redis, commands)
        return [(*call, values) for call, values in zip(self._calls, replies, strict=True)]
