"""What every rule of the state machine uses: the server, the model, and how one step compares them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition
from redis import Redis

from scaiqueue.keys import QueueKeys, ScopeKeys, Shard
from scaiqueue.records import State
from scaiqueue.scripts import binding
from scaiqueue.scripts.runner import Call
from tests.scripts.model import Model
from tests.scripts.model_parts import DEAD_QUEUE, Message, Scope
from tests.scripts.shard import check, run, words

START = 1_800_000_000_000
SHARD = Shard(3)
QUEUES: dict[str, dict[str, str]] = {
    "jobs": {"max_retries": "2"},
    "prio": {"ordering": "priority", "aging": "5000 1000 2000", "backoff": "fixed 700 1 700 none"},
    "dates": {"ordering": "deadline", "backoff": "linear 300 1 800 full", "visibility_ms": "900"},
    "small": {"max_depth": "2", "overflow": "drop_oldest", "ordering": "priority"},
    "spill": {"max_depth": "1", "overflow": "dead_letter", "max_retries": "1"},
    "strict": {"max_depth": "3", "require_token": "1", "max_retries": "0"},
    DEAD_QUEUE: {"access": "noput", "visibility_ms": "2000"},
}
HOLDERS = ("anna", "ben/1")
slugs = st.sampled_from(sorted(QUEUES))
picks = st.integers(0, 1000)
scopes = st.sampled_from([0, 0, 0, 1])
holders = st.sampled_from(HOLDERS)
spans = st.sampled_from([1, 250, 1000, 3000, 20000])
maybe_spans = st.none() | spans
# What happens in every fourth step at most, so that the other steps find messages to work on.
seldom = precondition(lambda machine: machine.steps % 4 == 3)


def or_empty(value: Any) -> Any:
    """An absent optional is the empty string."""
    return "" if value is None else value


class MachineBase(RuleBasedStateMachine):
    """One shard with two scopes of the same queues."""

    client: Redis

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.client.hset(SHARD.limits, mapping={"test_clock": 1, "published": 0, "persisted": 0})
        self.client.set(SHARD.epoch, 1)
        self.model = Model(START)
        self.keys = [ScopeKeys(SHARD, "acme", "0"), ScopeKeys(SHARD, "bolt", "1")]
        self.ids = self.versions = self.seen = self.steps = 0
        for keys in self.keys:
            self.model.scopes[keys.root] = Scope(keys.root)
            self.set_scope_state(keys, "active")
            for slug, fields in QUEUES.items():
                self.configure_queue(self.scope_of(keys), slug, {"state": "active", **fields})

    @invariant()
    def every_key_is_as_in_the_model(self) -> None:
        check(self.client, self.model, SHARD, self.seen)
        self.seen = len(self.model.journal)
        self.steps += 1

    def scope_of(self, keys: ScopeKeys) -> Scope:
        return self.model.scopes[keys.root]

    def scope(self, number: int) -> Scope:
        return self.scope_of(self.keys[number])

    def scope_keys(self, scope: Scope) -> ScopeKeys:
        return ScopeKeys.parse(scope.root)

    def queue_keys(self, scope: Scope, slug: str) -> QueueKeys:
        return self.scope_keys(scope).queue(slug)

    def call(self, call: Call) -> list[list[Any]]:
        """Run a script at the model's time; raw items."""
        name, keys, args = call
        arguments = list(args)
        arguments[1] = self.model.now
        self.last = (name, keys, arguments)
        return run(self.client, self.last).items

    def agree(self, call: Call, expected: Callable[[list[list[Any]]], list[list[Any]]]) -> list[list[Any]]:
        """Run a call, and hold its reply against the model's, which may look at it first."""
        items = self.call(call)
        plain = words(items)
        legal = expected(plain)
        assert plain == legal, f"{call[0]}: {plain!r} instead of {legal!r}"
        return plain

    def new_id(self) -> str:
        self.ids += 1
        return f"0190{self.ids:04x}-0000-7000-8000-000000000000"

    def pick(self, scope: Scope, place: int, *states: State) -> Message | None:
        """One of the scope's messages, in one of `states` if there is any such."""
        every = sorted(scope.messages)
        wanted = [id for id in every if scope.messages[id].record.state in states] or every
        return scope.messages[wanted[place % len(wanted)]] if wanted else None

    def one_of(self, place: int, useful: list[str], every: list[str]) -> str:
        """Mostly a useful one."""
        wanted = every if place % 7 == 0 or not useful else useful
        return wanted[place // 7 % len(wanted)]

    def pick_id(self, scope: Scope, place: int, *states: State) -> str:
        """As `pick`; an id that is not in the index where there is no message, or now and then."""
        found = None if place % 97 == 0 else self.pick(scope, place, *states)
        return (
            found.id
            if found
            else sorted(scope.rows)[place % len(scope.rows)]
            if scope.rows
            else self.new_id()
        )

    def set_scope_state(self, keys: ScopeKeys, state: str) -> None:
        self.versions += 1
        scope = self.scope_of(keys)
        scope.state, scope.version = state, self.versions
        items = [binding.ConfigureItem("state", state)]
        self.agree(binding.configure_call(keys, [], self.versions, items), lambda _: [["OK"]])

    def configure_queue(self, scope: Scope, slug: str, fields: dict[str, str], version: int = 0) -> None:
        self.versions += 1
        version = version or self.versions
        items = [binding.ConfigureItem(name, value) for name, value in fields.items()]
        call = binding.configure_call(self.scope_keys(scope), [self.queue_keys(scope, slug)], version, items)
        self.agree(call, lambda _: self.model.configure(scope, slug, version, fields))
