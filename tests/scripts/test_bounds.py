"""Batches of 1,000 for every verb, bounded sweeps, and a server at its memory limit."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import OutOfMemoryError

from scaiqueue.scripts import binding
from scaiqueue.scripts.runner import Call
from tests.scripts.bench import Bench
from tests.scripts.shard import dump, load_scripts
from tests.servers import RedisServer

MOST = 1000


@pytest.fixture
def bench(client: Redis) -> Bench:
    bench = Bench(client)
    bench.queue("one", max_retries=1, visibility_ms=1000, ordering="priority", aging="5000 1000 5000")
    return bench


def _all(bench: Bench, call: Call) -> str:
    """The word that each of 1,000 items was answered with."""
    replies = bench.words(call)
    assert len(replies) == MOST
    (word,) = {reply[0] for reply in replies}
    return word


def test_claim_complete_and_forget_a_thousand(bench: Bench) -> None:
    ids = bench.publish("one", MOST)
    assert bench.claim("one", want=MOST) == ("OK", ids)
    held = bench.held(ids)
    extended = binding.extend_call(bench.keys, [binding.ExtendItem(**item) for item in held])
    completed = binding.complete_call(
        bench.keys, [binding.CompleteItem(**item, response="[]") for item in held]
    )
    assert [_all(bench, call) for call in (extended, completed, completed)] == ["OK"] * 3
    forgotten = [binding.ForgetItem(id, str(bench.record(id).version)) for id in ids]
    assert _all(bench, binding.forget_call(bench.keys, "", forgotten)) == "OK"
    assert bench.client.hlen(bench.keys.key("state")) == 0


def test_release_fail_and_redrive_a_thousand(bench: Bench) -> None:
    ids = bench.publish("one", MOST)
    one_each = binding.claim_call(
        bench.keys, [bench.keys.queue("one")], [], "ordered", [binding.ClaimItem("anna", 1)] * MOST
    )
    assert _all(bench, one_each) == "OK"
    items = [binding.ReleaseItem(**item) for item in bench.held(ids)]
    assert _all(bench, binding.release_call(bench.keys, items)) == "OK"
    assert bench.claim("one", want=MOST) == ("OK", ids)
    failed = [binding.FailItem(**item, reason="boom") for item in bench.held(ids)]
    assert _all(bench, binding.fail_call(bench.keys, failed)) == "OK"
    assert bench.members("_dead_letter", "pending") == ids
    redriven = [binding.RedriveItem(id, "op") for id in ids]
    assert _all(bench, binding.redrive_call(bench.keys, redriven)) == "OK"
    assert bench.members("one", "pending") == ids


def test_cancel_decide_and_purge_a_thousand(bench: Bench) -> None:
    ids = bench.publish("one", MOST)
    items = [binding.CancelItem(id, "op") for id in ids]
    assert _all(bench, binding.cancel_call(bench.keys, items)) == "OK"
    ids = bench.publish("one", MOST, review_ms=500)
    decided = [binding.DecideItem(id, str(bench.record(id).version), "rev", "{}") for id in ids]
    assert _all(bench, binding.decide_call(bench.keys, decided)) == "OK"
    bench.publish("one", MOST)
    bench.publish("one", 3, delay_ms=5)
    purge = binding.purge_call(bench.keys, bench.keys.queue("one"), MOST, "op")
    assert [bench.words(purge) for _ in range(2)] == [[["MORE", MOST]], [["OK", 3]]]


def test_restore_and_age_a_thousand(bench: Bench) -> None:
    ids = bench.publish("one", MOST, rank=0)
    packed = bench.client.hgetall(bench.keys.key("state"))
    rows = [binding.RestoreItem(id, packed[id.encode()], b"{}\n") for id in ids]
    bench.client.flushall()
    bench = Bench(bench.client)
    bench.queue("one", ordering="priority", aging="5000 1000 5000")
    bench.client.delete(bench.keys.shard.epoch)
    assert _all(bench, binding.restore_call(bench.keys, MOST, 0, rows, epoch=2)) == "OK"
    bench.client.set(bench.keys.shard.epoch, 2)
    bench.now += 5000
    raised, calls, word, cursor = 0, 0, "MORE", ""
    while word == "MORE":
        call = binding.age_call(bench.keys, bench.keys.queue("one"), MOST, cursor)
        ((word, count, cursor),) = bench.words(call)
        raised, calls = raised + count, calls + 1
    assert raised == MOST
    assert calls <= 11
    assert bench.claim("one", want=MOST) == ("OK", ids)


@pytest.mark.parametrize("ordering", ["fifo", "priority", "deadline"])
def test_a_thousand_take_the_places_of_a_thousand(bench: Bench, ordering: str) -> None:
    bench.queue("full", max_depth=MOST, overflow="drop_oldest", ordering=ordering)
    old, new = bench.publish("full", MOST), bench.publish("full", MOST)
    assert bench.members("full", "pending") == new
    assert {bench.record(id).state for id in old} == {7}


def test_a_thousand_lost_leases_return_in_bounded_calls(bench: Bench) -> None:
    bench.queue("one", max_retries=3)
    ids = bench.publish("one", MOST)
    bench.claim("one", want=MOST)
    bench.now += 1000
    replies = [bench.sweep(300) for _ in range(5)]
    assert [reply[0] for reply in replies] == ["MORE", "MORE", "MORE", "OK", "EMPTY"]
    assert sum(reply[3] for reply in replies[:4]) == MOST
    assert bench.members("one", "pending") == ids
    entries = bench.client.xrange(bench.keys.shard.journal)
    assert all(int(b.split(b"-")[1]) == int(a.split(b"-")[1]) + 1 for (a, _), (b, _) in pairwise(entries))


def test_a_claim_takes_back_a_hundred_at_most(bench: Bench) -> None:
    bench.queue("one", max_retries=3)
    ids = bench.publish("one", 250)
    bench.claim("one", want=250)
    bench.now += 1000
    answers = [bench.claim("one", want=100) for _ in range(3)]
    assert [word for word, _ in answers] == ["OK", "OK", "OK"]
    assert sorted(id for _, given in answers for id in given) == ids


def test_the_sweep_goes_from_queue_to_queue(bench: Bench) -> None:
    bench.queue("two")
    bench.publish("one", 2, delay_ms=20)
    bench.publish("two", 2, delay_ms=10)
    bench.now += 20
    first, second, third = (bench.sweep() for _ in range(3))
    assert [first[1], second[1]] == [bench.keys.queue(slug).root for slug in ("two", "one")]
    assert [first[4], second[4], third] == [2, 2, ["EMPTY", -1]]


@pytest.fixture(params=["redis", "valkey"])
def full(request: pytest.FixtureRequest) -> Iterator[Redis]:
    with RedisServer(kind=request.param) as server, server.client() as client:
        load_scripts(client)
        yield client


def _work(bench: Bench, ids: list[str]) -> list[Any]:
    """What consumers do; each frees memory or hardly takes any."""
    assert bench.claim("one", want=4) == ("OK", ids[:4])
    done, failed, released, lost = bench.held(ids[:4])
    calls = [
        binding.complete_call(bench.keys, [binding.CompleteItem(**done, response="[]")]),
        binding.fail_call(bench.keys, [binding.FailItem(**failed, reason="boom")]),
        binding.release_call(bench.keys, [binding.ReleaseItem(**released)]),
        binding.extend_call(bench.keys, [binding.ExtendItem(**lost)]),
        binding.cancel_call(bench.keys, [binding.CancelItem(ids[5], "op")]),
        binding.purge_call(bench.keys, bench.keys.queue("one"), 1, "op"),
    ]
    words = [bench.words(call)[0][0] for call in calls]
    bench.now += 60000
    return [*words, bench.sweep()[0]]


def test_at_the_memory_limit_consumers_go_on_and_publish_changes_nothing(full: Redis) -> None:
    bench = Bench(full)
    bench.queue("one", max_retries=1)
    ids = bench.publish("one", 8)
    before = dump(full)
    full.config_set("maxmemory", 1)
    with pytest.raises(OutOfMemoryError):
        bench.publish("one")
    full.config_set("maxmemory", 0)
    assert dump(full) == before
    full.config_set("maxmemory", 1)
    assert _work(bench, ids) == ["OK", "OK", "OK", "OK", "OK", "MORE", "OK"]
    version = str(bench.record(ids[0]).version)
    forgotten = bench.words(binding.forget_call(bench.keys, "", [binding.ForgetItem(ids[0], version)]))
    assert forgotten == [["OK"]]
    full.config_set("maxmemory", 0)
    assert len(bench.publish("one")) == 1
