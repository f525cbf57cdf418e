"""The JSON form of conformance cases: values, keys, and running one case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from redis import Redis

from tests.scripts.shard import BUNDLE

FOLDER = Path(__file__).with_name("conformance")
PACKED = ("outcome", "ev")


def as_json(value: Any, packed: bool = False) -> Any:
    """A value of a reply or a key as it stands in a case."""
    if isinstance(value, list):
        return [as_json(part) for part in value]
    if not isinstance(value, bytes):
        return value
    if packed:
        return {"msgpack": msgspec.msgpack.decode(value)}
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return {"hex": value.hex()}
    return text if text.isprintable() else {"hex": value.hex()}


def as_bytes(value: Any) -> bytes:
    """The argument that stands for `value` in a case."""
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else str(value).encode()


def reply_as_json(script: str, reply: list[Any]) -> list[Any]:
    """A whole reply; outcomes that come with claimed messages are packed."""
    items = [as_json(item) for item in reply]
    for item, raw in zip(items, reply, strict=True) if script == "claim" else ():
        if len(raw) > 4:
            item[3] = [as_json(part, packed=i % 3 == 2 and part != b"") for i, part in enumerate(raw[3])]
    return items


def keys_as_json(client: Redis) -> dict[str, Any]:
    """Every `sq:` key but the list of the scripts."""
    return {key.decode(): _key_as_json(client, key.decode()) for key in sorted(client.keys("sq:{*"))}


def _key_as_json(client: Redis, key: str) -> dict[str, Any]:
    match client.type(key):
        case b"hash":
            return {"hash": hash_as_json(key, client.hgetall(key))}
        case b"zset":
            return {"zset": {id.decode(): int(at) for id, at in client.zrange(key, 0, -1, withscores=True)}}
        case b"stream":
            return {"stream": [[id.decode(), entry_as_json(fields)] for id, fields in client.xrange(key)]}
        case _:
            return {"string": as_json(client.get(key))}


def hash_as_json(key: str, fields: dict[bytes, bytes]) -> dict[str, Any]:
    """A hash's fields; whether they are packed follows from its key."""
    packed = key.rpartition(":")[2] in PACKED
    return {name.decode(): as_json(value, packed) for name, value in sorted(fields.items())}


def entry_as_json(fields: dict[bytes, bytes]) -> dict[str, Any]:
    """A journal entry's fields."""
    shown = {name.decode(): as_json(value, name.decode() in PACKED) for name, value in fields.items()}
    if "detail" in shown:
        # Servers put the members of an object in an order of their own.
        shown["detail"] = {"json": json.loads(json.dumps(json.loads(fields[b"detail"]), sort_keys=True))}
    return shown


def as_text(value: Any) -> Any:
    """Integers and text compare as text."""
    if isinstance(value, list):
        return [as_text(part) for part in value]
    if isinstance(value, dict):
        return {name: as_text(part) for name, part in value.items()}
    return str(value)


def run_case(client: Redis, case: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The reply and the keys afterwards, in the case's form."""
    client.flushall()
    for command in case["setup"]:
        if command[0] == "SCRIPT":
            evaluate(client, *command[1:])
        else:
            client.execute_command(*command)
    call = case["call"]
    reply = evaluate(client, call["script"], call["keys"], call["args"])
    return reply_as_json(call["script"], reply), keys_as_json(client)


def evaluate(client: Redis, script: str, keys: list[str], args: list[Any]) -> Any:
    """A call as it stands in a case."""
    return client.evalsha(BUNDLE[script].sha1, len(keys), *keys, *map(as_bytes, args))
