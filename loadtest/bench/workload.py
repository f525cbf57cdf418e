"""Messages to measure with: ids, headers, bodies of 200 bytes and of real webhooks."""

from __future__ import annotations

from itertools import cycle, islice
from typing import Any

from redis import Redis
from uuid_utils import uuid7

from loadtest.bench.pipeline import Packed, pack_call
from loadtest.webhooks import load_webhooks
from scaiqueue.keys import QueueKeys, ScopeKeys, Shard
from scaiqueue.records import join_envelope
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import ClaimItem, CompleteItem, ConfigureItem, PublishItem
from scaiqueue.scripts.bundle import load_bundle
from scaiqueue.scripts.runner import Call

HEADER = b'{"type":"bench.job"}'
_SMALL = b'{"order":"o-1","filler":"' + b"x" * 173 + b'"}'


def bodies(kind: str, count: int) -> list[bytes]:
    """`count` bodies: `200 B`, or `webhooks`, real ones in turn."""
    if kind == "200 B":
        return [_SMALL] * count
    return list(islice(cycle([hook.body for hook in load_webhooks()]), count))


def new_ids(count: int) -> list[str]:
    return [str(uuid7()) for _ in range(count)]


class Field:
    """One scope with queues on an empty Redis, set up by the scripts themselves."""

    def __init__(self, client: Redis, scope: str = "bench", shard: int = 1) -> None:
        self.client = client
        self.scope = ScopeKeys(Shard(shard), "default", scope)
        for script in load_bundle().values():
            client.script_load(script.source)
        client.set(self.scope.shard.epoch, 1)
        self._version = 0
        self._configure([])
        self.queue("_dead_letter")

    def queue(self, slug: str, **settings: str | int) -> QueueKeys:
        keys = self.scope.queue(slug)
        self._configure([keys], **settings)
        return keys

    def _configure(self, queues: list[QueueKeys], **settings: str | int) -> None:
        self._version += 1
        items = [ConfigureItem(name, value) for name, value in {"state": "active", **settings}.items()]
        name, keys, args = binding.configure_call(self.scope, queues, self._version, items)
        self.client.evalsha(load_bundle()[name].sha1, len(keys), *keys, *args)

    def publishes(
        self, queue: QueueKeys, ids: list[str], contents: list[bytes], per_call: int
    ) -> list[Packed]:
        """Packed calls. The header is said to be checked, as the API says it of its own."""
        items = [PublishItem(id, join_envelope(HEADER, body)) for id, body in zip(ids, contents, strict=True)]
        return [
            packed(binding.publish_call(self.scope, [queue], [], "bench", 1, items[at : at + per_call]))
            for at in range(0, len(items), per_call)
        ]

    def claims(self, queue: QueueKeys, count: int, per_call: int) -> list[Packed]:
        call = binding.claim_call(self.scope, [queue], [], "ordered", [ClaimItem("worker", per_call)])
        return [packed(call)] * (count // per_call)

    def completes(self, held: list[tuple[bytes, bytes]], per_call: int) -> list[Packed]:
        """`held` are ids and claim tokens."""
        items = [CompleteItem(id, token, "worker") for id, token in held]
        return [
            packed(binding.complete_call(self.scope, items[at : at + per_call]))
            for at in range(0, len(items), per_call)
        ]


def packed(call: Call) -> Packed:
    name, keys, args = call
    return pack_call(load_bundle()[name].sha1, keys, args)


def leases(replies: list[Any]) -> list[tuple[bytes, bytes]]:
    """Ids and tokens of what claim calls gave."""
    return [(id, reply[1][1]) for reply in replies for id in reply[1][4::3]]


def all_ok(replies: list[Any]) -> None:
    """Raises RuntimeError unless every item of every reply succeeded: a refusal is fast, and worthless."""
    for reply in replies:
        for item in reply[1:]:
            if not (item.startswith(b"OK") if isinstance(item, bytes) else item[0] == b"OK"):
                raise RuntimeError(f"a call was refused: {item!r}")
