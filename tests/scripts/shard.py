"""One shard of a real server: calls its scripts, and reads every key of it as the model would have it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from redis import Redis

from scaiqueue.keys import Shard
from scaiqueue.records import decode_record
from scaiqueue.scripts.bundle import load_bundle
from scaiqueue.scripts.replies import Reply, parse_reply
from scaiqueue.scripts.runner import Call
from tests.scripts.model import Model
from tests.scripts.model_parts import Entry, Line

BUNDLE = load_bundle()
SETS = ("pending", "scheduled", "claimed", "expiry", "review")


def load_scripts(client: Redis) -> None:
    for script in BUNDLE.values():
        client.script_load(script.source)


def run(client: Redis, call: Call) -> Reply:
    """One call's reply. Raises NotReadyError or redis.ResponseError."""
    name, keys, args = call
    return parse_reply(client.evalsha(BUNDLE[name].sha1, len(keys), *keys, *args))


def words(items: Iterable[list[Any]]) -> list[list[Any]]:
    """Replies with text and numbers as the model gives them."""
    return [[_plain(value) for value in item] for item in items]


def _plain(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        text = value.decode()
    except UnicodeDecodeError:  # a record
        return value
    return int(text) if text.isdigit() else text


def dump(client: Redis, pattern: str = "*") -> dict[bytes, bytes]:
    """Every key's serialised value, for comparing and restoring."""
    keys = sorted(client.keys(pattern))
    with client.pipeline() as pipe:
        for key in keys:
            pipe.dump(key)
        return dict(zip(keys, pipe.execute(), strict=True))


def _read(client: Redis, keys: list[str]) -> dict[str, Any]:
    """Values of keys by their type: text, hash, or members with scores."""
    with client.pipeline() as pipe:
        for key in keys:
            pipe.type(key)
        types = pipe.execute()
        for key, kind in zip(keys, types, strict=True):
            match kind:
                case b"hash":
                    pipe.hgetall(key)
                case b"zset":
                    pipe.zrange(key, 0, -1, withscores=True)
                case b"string":
                    pipe.get(key)
                case b"stream":
                    pipe.xlen(key)
        values = pipe.execute()
    return {key: dict(v) if isinstance(v, list) else v for key, v in zip(keys, values, strict=True)}


def check(client: Redis, model: Model, shard: Shard, seen: int) -> None:
    """Compare all keys of the shard with the model, and the journal from entry `seen` on."""
    keys = sorted(key.decode() for key in client.keys(f"{shard.root}:*"))
    actual = _read(client, keys)
    due = {root.decode(): int(at) for root, at in actual.pop(shard.due, {}).items()}
    actual.pop(shard.journal, None)
    expected = _expected(model, shard)
    assert sorted(actual) == sorted(expected), f"more or fewer keys: {set(actual) ^ set(expected)}"
    for key, value in expected.items():
        found = _decoded(key, actual[key])
        assert found == value, f"{key}: {_difference(found, value)}"
    _check_due(model, due)
    _check_journal(client, model, shard, seen)


def _expected(model: Model, shard: Shard) -> dict[str, Any]:
    limits = {"test_clock": "1", "published": str(model.published), "persisted": str(model.persisted)}
    if model.backlog_limit is not None:
        limits["backlog_limit"] = str(model.backlog_limit)
    found: dict[str, Any] = {shard.epoch: str(model.epoch), shard.limits: limits}
    for root, scope in model.scopes.items():
        meta = {"state": scope.state, "version": scope.version, "seq": scope.seq, "token": scope.token}
        found[f"{root}:meta"] = {name: str(value) for name, value in meta.items() if value}
        found[f"{root}:state"] = {id: m.record for id, m in scope.messages.items()}
        found[f"{root}:body"] = {id: m.envelope for id, m in scope.messages.items()}
        found[f"{root}:outcome"] = {id: m.outcome for id, m in scope.messages.items() if m.outcome}
        for slug, queue in scope.queues.items():
            found[f"{root}:q:{slug}:meta"] = dict(queue.fields)
            for name, members in scope.sets(slug).items():
                found[f"{root}:q:{slug}:{name}"] = members
        found |= {key: f"{owner} {digest}" for key, (owner, digest) in scope.idem.items()}
        found |= {key: f"{token} {''.join(ids)}" for key, (token, ids) in scope.claims.items()}
    return {key: value for key, value in found.items() if value}


def _decoded(key: str, value: Any) -> Any:
    match key.rpartition(":")[2]:
        case "state":
            return {id.decode(): decode_record(packed) for id, packed in value.items()}
        case "body":
            return {id.decode(): envelope for id, envelope in value.items()}
        case "outcome":
            found = {id.decode(): msgspec.msgpack.decode(packed) for id, packed in value.items()}
            return {id: (response.encode(), reason) for id, (response, reason) in found.items()}
        case name if name in SETS:
            return {id.decode(): int(score) for id, score in value.items()}
    if isinstance(value, dict):
        return {name.decode(): text.decode() for name, text in value.items()}
    return value.decode()


def _difference(found: Any, expected: Any) -> str:
    if not isinstance(expected, dict):
        return f"{found!r} instead of {expected!r}"
    names = sorted(name for name in {**found, **expected} if found.get(name) != expected.get(name))
    return "; ".join(f"{name}: {found.get(name)!r} instead of {expected.get(name)!r}" for name in names)


def _check_due(model: Model, due: dict[str, int]) -> None:
    """The due index may be early, never late."""
    for root, scope in model.scopes.items():
        for slug in scope.queues:
            soonest = scope.next_due(slug)
            noted = due.get(f"{root}:q:{slug}")
            assert soonest is None or (noted is not None and noted <= soonest), (slug, soonest, noted)


def _check_journal(client: Redis, model: Model, shard: Shard, seen: int) -> None:
    entries = client.xrange(shard.journal, f"{model.epoch}-{seen}", "+")
    assert [id.decode() for id, _ in entries] == [
        f"{model.epoch}-{n}" for n in range(seen, len(model.journal))
    ]
    for (_, fields), expected in zip(entries, model.journal[seen:], strict=True):
        entry = decode_entry(fields)
        assert entry == expected, f"journal: {entry!r} instead of {expected!r}"


def decode_entry(fields: dict[bytes, bytes]) -> Entry:
    """A journal entry as its readers decode it."""
    flat = msgspec.msgpack.decode(fields.get(b"ev", b"\x90"))
    events: dict[str, list[Line]] = {}
    for i in range(0, len(flat), 6):
        *line, joined = flat[i : i + 6]
        for at in range(0, len(joined), 36):
            events.setdefault(joined[at : at + 36], []).append(tuple(line))
    return Entry(
        fields[b"op"].decode(),
        fields[b"s"].decode(),
        int(fields[b"at"]),
        events,
        int(fields[b"p"]) if b"p" in fields else None,
        tuple(msgspec.json.decode(fields[b"detail"])) if b"detail" in fields else None,
    )
