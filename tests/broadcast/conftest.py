"""A bench with the broadcast queue `news`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from redis import Redis

from scaiqueue.broadcast.filters import Filter, encode_filter
from scaiqueue.broadcast.program import compile_roster
from scaiqueue.rows.subscriptions import Roster, SubscriptionRow
from scaiqueue.scripts import binding
from tests.scripts.bench import Bench
from tests.scripts.shard import load_scripts
from tests.servers import RedisServer


class Newsroom(Bench):
    """The bench, with subscriptions: `subscribe` adds one, or changes one that is there."""

    def __init__(self, client: Redis, **settings: str | int) -> None:
        super().__init__(client)
        self.settings = settings
        self.roster: dict[str, SubscriptionRow] = {}
        self.queue("news", access="broadcast", **settings)

    def subscribe(self, name: str, *, dedup_window_s: int = 0, **chosen: Any) -> int:
        """The number of the newest message before it."""
        slug = f"news.{name}"
        self.queue(slug, access="copies", **self.settings)
        text = encode_filter(msgspec.convert(chosen, Filter)).decode()
        self.roster[name] = SubscriptionRow(
            id=f"00000000-0000-7000-8000-{self.version:012d}", tenant_id="acme", scope_id="0",
            queue="news", name=name, slug=slug, filter=text, start="latest", delivery="pull",
            dedup_window_s=dedup_window_s, state="active", fill_before=-1, filled_to="", filled=0,
            version=1, created_at=0, updated_at=0,
        )  # fmt: skip
        return self.apply()

    def unsubscribe(self, name: str) -> None:
        del self.roster[name]
        self.apply()

    def apply(self) -> int:
        self.version += 1
        program = compile_roster(Roster(self.version, list(self.roster.values())))
        (reply,) = self.words(
            binding.subscribe_call(self.keys, self.keys.queue("news"), self.version, program)
        )
        assert reply[0] == "OK"
        return int(reply[1])

    def copies(self, name: str, state: str = "pending") -> list[str]:
        return self.members(f"news.{name}", state)

    def parents(self, ids: list[str]) -> list[str]:
        return [self.record(copy).shared for copy in ids]

    def envelopes(self) -> dict[str, bytes]:
        """What is stored of shared envelopes, by the message that they are kept under."""
        return {name.decode(): value for name, value in self.client.hgetall(self.keys.key("shared")).items()}

    def shares(self) -> dict[str, int]:
        found = self.client.hgetall(self.keys.key("shares"))
        return {name.decode(): int(number) for name, number in found.items()}

    def complete(self, *ids: str) -> None:
        items = [binding.CompleteItem(**held) for held in self.held(ids)]
        assert {reply[0] for reply in self.words(binding.complete_call(self.keys, items))} == {"OK"}

    def forget(self, *ids: str) -> list[list[Any]]:
        items = [binding.ForgetItem(name, str(self.record(name).version)) for name in ids]
        return self.words(binding.forget_call(self.keys, "", items))


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Redis]:
    with redis_server.client() as connected:
        connected.flushall()
        load_scripts(connected)
        yield connected


@pytest.fixture
def news(client: Redis) -> Newsroom:
    return Newsroom(client, backoff="fixed 1000 1 1000 none", max_retries=2)
