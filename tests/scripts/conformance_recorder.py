"""A bench that notes what it does, so that a case can be told in Python and kept as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis import Redis

from scaiqueue.keys import ScopeKeys, Shard
from scaiqueue.scripts import binding
from scaiqueue.scripts.replies import Reply
from scaiqueue.scripts.runner import Call
from tests.scripts.bench import START, Bench
from tests.scripts.conformance_format import as_bytes, as_json
from tests.scripts.shard import run

# Told in Python: what happened before, the call, and the reply that it must have.
Story = Callable[["Recorder"], tuple[Call, list[Any]]]
STORIES: dict[str, list[tuple[str, Story]]] = {}


def story(script: str, about: str) -> Callable[[Story], Story]:
    """Registers a case of a script."""

    def register(told: Story) -> Story:
        STORIES.setdefault(script, []).append((about, told))
        return told

    return register


class Recorder(Bench):
    """Ids count from 1 in each case; retries have no jitter."""

    def __init__(self, client: Redis) -> None:
        self.client = client
        self.keys = ScopeKeys(Shard(3), "acme", "0")
        self.now, self.version, self.ids = START, 1, 0
        self.commands: list[list[Any]] = []
        self.command("SET", self.keys.shard.epoch, "1")
        self.command("HSET", self.keys.shard.limits, "test_clock", "1")
        self.run(binding.configure_call(self.keys, [], 1, [binding.ConfigureItem("state", "active")]))
        self.queue("_dead_letter", access="noput")
        self.queue("jobs", backoff="fixed 1000 1 1000 none", max_retries=2)

    def command(self, *parts: str) -> None:
        self.commands.append(list(parts))
        self.client.execute_command(*parts)

    def new_id(self) -> str:
        self.ids += 1
        return f"01900000-0000-7000-8000-{self.ids:012x}"

    def run(self, call: Call) -> Reply:
        name, keys, args = self.timed(call)
        self.commands.append(["SCRIPT", name, keys, args])
        return run(self.client, (name, keys, [as_bytes(part) for part in args]))

    def timed(self, call: Call) -> tuple[str, list[str], list[Any]]:
        """The call at the bench's time, as it stands in a case."""
        name, keys, args = call
        plain = [as_json(part) if isinstance(part, bytes) else str(part) for part in args]
        return name, list(keys), [plain[0], str(self.now), *plain[2:]]

    def claimed(self, slug: str = "jobs", **fields: Any) -> str:
        """One message, in the hands of anna."""
        ids = self.publish(slug, **fields)
        assert self.claim(slug) == ("OK", ids)
        return ids[0]

    def dead(self) -> str:
        """One message in the dead letter."""
        id = self.claimed()
        self.run(
            binding.fail_call(self.keys, [binding.FailItem(**self.held([id])[0], reason="no", retryable=0)])
        )
        return id

    def scope_state(self, state: str) -> None:
        self.version += 1
        items = [binding.ConfigureItem("state", state)]
        self.run(binding.configure_call(self.keys, [], self.version, items))
