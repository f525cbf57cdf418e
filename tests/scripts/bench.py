"""Short calls of the scripts on one scope, for tests that tell a story."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from redis import Redis

from scaiqueue.keys import ScopeKeys, Shard
from scaiqueue.records import Record, decode_record
from scaiqueue.scripts import binding
from scaiqueue.scripts.replies import Reply
from scaiqueue.scripts.runner import Call
from tests.scripts.direct import handed_out, publish_item
from tests.scripts.shard import run, words

START = 1_800_000_000_000
_numbers = count(1)


def new_id() -> str:
    return f"0190{next(_numbers):04x}-0000-7000-8000-000000000000"


class Bench:
    """A scope of an open shard, with the queues that it is asked for; `now` is the scripts' clock, ms."""

    def __init__(self, client: Redis, scope: str = "0", shard: int = 3) -> None:
        self.client = client
        self.keys = ScopeKeys(Shard(shard), "acme", scope)
        self.now = START
        self.version = 1
        client.set(self.keys.shard.epoch, 1)
        client.hset(self.keys.shard.limits, "test_clock", 1)
        self.run(binding.configure_call(self.keys, [], 1, [binding.ConfigureItem("state", "active")]))
        self.queue("_dead_letter", access="noput")

    def new_id(self) -> str:
        return new_id()

    def run(self, call: Call) -> Reply:
        """One call at the bench's time."""
        name, keys, args = call
        return run(self.client, (name, keys, [args[0], self.now, *args[2:]]))

    def words(self, call: Call) -> list[list[Any]]:
        """Its replies, decoded."""
        return words(self.run(call).items)

    def queue(self, slug: str, **fields: str | int) -> None:
        self.version += 1
        settings = {"state": "active", **fields}
        items = [binding.ConfigureItem(name, value) for name, value in settings.items()]
        keys = [self.keys.queue(slug)]
        assert self.words(binding.configure_call(self.keys, keys, self.version, items)) == [["OK"]]

    def publish_call(self, slug: str, number: int = 1, **fields: Any) -> Call:
        items = [publish_item(**{"id": self.new_id(), **fields}) for _ in range(number)]
        return binding.publish_call(self.keys, [self.keys.queue(slug)], [], "pat", 0, items)

    def publish(self, slug: str, number: int = 1, **fields: Any) -> list[str]:
        """The ids of new messages."""
        call = self.publish_call(slug, number, **fields)
        replies = self.words(call)
        assert all(reply[0] == "OK" for reply in replies), replies
        return [str(id) for id in call[2][5::3]]

    def claim(
        self,
        *slugs: str,
        want: int = 1,
        strategy: str = "ordered",
        holder: str = "anna",
        visibility_ms: Any = "",
    ) -> tuple[str, list[str]]:
        """The reply's word, and the ids that were handed out."""
        items = [binding.ClaimItem(holder, want, visibility_ms)]
        queues = [self.keys.queue(slug) for slug in slugs]
        (reply,) = self.run(binding.claim_call(self.keys, queues, [], strategy, items)).items
        return reply[0], [message.id.decode() for message in handed_out(reply)]

    def token(self, id: str) -> str:
        return self.record(id).token

    def record(self, id: str) -> Record:
        packed = self.client.hget(self.keys.key("state"), id)
        assert packed is not None
        return decode_record(packed)

    def members(self, slug: str, name: str) -> list[str]:
        return [id.decode() for id in self.client.zrange(self.keys.queue(slug).key(name), 0, -1)]

    def held(self, ids: Sequence[str]) -> list[dict[str, str]]:
        """The arguments by which the holder of claimed messages names them."""
        return [{"id": id, "token": self.token(id), "holder": "anna"} for id in ids]

    def sweep(self, limit: int = 1000) -> list[Any]:
        (reply,) = self.words(binding.sweep_call(self.keys.shard, limit))
        return reply
