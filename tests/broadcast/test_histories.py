"""Random histories of a broadcast queue: who gets what, how often, and what is stored of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis import Redis

from scaiqueue.records import State, decode_record
from scaiqueue.scripts import binding
from tests.broadcast.conftest import Newsroom

NAMES = {"all": {}, "sport": {"types": ["sport"]}, "late": {}}
HEADERS = {"sport": b'{"type":"sport"}', "fire": b'{"type":"fire"}'}
names = st.sampled_from(sorted(NAMES))


class Histories(RuleBasedStateMachine):
    """What each subscription is owed is noted when a message is published, and paid when a copy ends."""

    client: Redis

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.news = Newsroom(self.client, max_retries=2, backoff="fixed 500 1 500 none")
        self.owed: dict[str, list[str]] = {name: [] for name in NAMES}
        self.ended: Counter[tuple[str, str]] = Counter()
        for name in ("all", "sport"):
            self.news.subscribe(name, **NAMES[name])

    @rule(kinds=st.lists(st.sampled_from(sorted(HEADERS)), min_size=1, max_size=3), delay=st.booleans())
    def publish(self, kinds: list[str], delay: bool) -> None:
        for kind in kinds:
            (id,) = self.news.publish("news", header=HEADERS[kind], delay_ms=300 if delay else 0)
            for name in self.news.roster:
                if NAMES[name].get("types", [kind]) == [kind]:
                    self.owed[name].append(id)

    @rule(name=names)
    def come_or_go(self, name: str) -> None:
        """Copies that are there stay; the queue is taken away by the API."""
        if name in self.news.roster:
            self.news.unsubscribe(name)
        else:
            self.news.subscribe(name, **NAMES[name])

    def claimed(self, name: str) -> list[str]:
        return self.news.copies(name, "claimed")

    @rule(name=names, want=st.integers(1, 3))
    def claim(self, name: str, want: int) -> None:
        if f"news.{name}" in self.known():
            self.news.claim(f"news.{name}", want=want, visibility_ms=700)

    def known(self) -> set[str]:
        return {
            f"news.{name}"
            for name in NAMES
            if self.client.exists(self.news.keys.queue(f"news.{name}").key("meta"))
        }

    @rule(name=names)
    def complete(self, name: str) -> None:
        for copy in self.claimed(name)[:2]:
            self.news.complete(copy)
            self.note(name, copy)

    @rule(name=names, retryable=st.sampled_from([0, 1]))
    def fail(self, name: str, retryable: int) -> None:
        for held in self.news.held(self.claimed(name)[:1]):
            self.news.run(binding.fail_call(self.news.keys, [binding.FailItem(**held, retryable=retryable)]))

    @rule(name=names)
    def cancel_one(self, name: str) -> None:
        for copy in self.news.copies(name)[:1]:
            self.news.run(binding.cancel_call(self.news.keys, [binding.CancelItem(copy, "op")]))
            self.note(name, copy)

    @rule()
    def redrive(self) -> None:
        dead = self.news.members("_dead_letter", "pending")[:2]
        if dead:
            items = [binding.RedriveItem(copy, "op") for copy in dead]
            self.news.run(binding.redrive_call(self.news.keys, items))

    @rule(ms=st.sampled_from([100, 600, 2000]))
    def time_passes(self, ms: int) -> None:
        self.news.now += ms
        while self.news.sweep()[0] != "EMPTY":
            pass

    @rule(most=st.integers(1, 5))
    def forget(self, most: int) -> None:
        ended = [id for id, record in self.records().items() if State(record.state).terminal][:most]
        if ended:
            assert self.news.forget(*ended) == [["OK"]] * len(ended)

    def note(self, name: str, copy: str) -> None:
        self.ended[name, self.news.record(copy).shared] += 1

    def records(self) -> dict[str, Any]:
        found = self.client.hgetall(self.news.keys.key("state"))
        return {id.decode(): decode_record(packed) for id, packed in found.items()}

    @invariant()
    def an_envelope_is_kept_as_long_as_it_is_shared(self) -> None:
        sharing = Counter(record.shared for record in self.records().values())
        assert self.news.shares() == dict(sharing)
        assert set(self.news.envelopes()) == set(sharing)
        assert self.client.exists(self.news.keys.key("body")) == 0

    @invariant()
    def each_subscription_is_owed_one_copy_and_no_more(self) -> None:
        live: Counter[tuple[str, str]] = Counter()
        for id, record in self.records().items():
            if record.shared == id or State(record.state).terminal:
                continue
            queue = str(record.origin[0]) if record.queue == "_dead_letter" else record.queue
            live[queue.removeprefix("news."), record.shared] += 1
        expected = Counter((name, id) for name, ids in self.owed.items() for id in ids)
        assert live + self.ended == expected

    @invariant()
    def what_waits_is_in_the_order_of_publishing(self) -> None:
        for name in NAMES:
            waiting = self.news.parents(self.news.copies(name))
            assert waiting == [id for id in self.owed[name] if id in waiting]


def test_histories(client: Redis) -> None:
    machine = type("Histories", (Histories,), {"client": client})
    options = settings(max_examples=30, stateful_step_count=40, deadline=None, derandomize=True)
    run_state_machine_as_test(machine, settings=options)
