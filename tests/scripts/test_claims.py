"""Claims over several queues and in one call: order, windows, bounds, repeated claim ids."""

from __future__ import annotations

import pytest
from redis import Redis

from scaiqueue.scripts import binding
from tests.scripts.bench import Bench
from tests.scripts.direct import handed_out
from tests.scripts.shard import words

MIB = 1024 * 1024


@pytest.fixture
def bench(client: Redis) -> Bench:
    bench = Bench(client)
    bench.queue("one")
    bench.queue("two")
    return bench


def test_ordered_empties_the_first_queue_before_the_next(bench: Bench) -> None:
    first, second = bench.publish("one", 10), bench.publish("two", 10)
    assert bench.claim("one", "two", want=10) == ("OK", first)
    assert bench.claim("one", "two", want=15) == ("OK", second)


def test_oldest_follows_the_order_of_publishing(bench: Bench) -> None:
    early, late = bench.publish("one", 9), bench.publish("two", 9)
    assert bench.claim("two", "one", want=10, strategy="oldest") == ("OK", [*early, late[0]])


def test_fair_takes_by_turns(bench: Bench) -> None:
    first, second = bench.publish("one", 10), bench.publish("two", 2)
    word, ids = bench.claim("one", "two", want=8, strategy="fair")
    assert word == "OK"
    assert [id for id in ids if id in first] == first[:6]
    assert [id for id in ids[:4] if id in second] == second


def test_what_was_buried_on_the_way_is_found_in_the_dead_letter(bench: Bench) -> None:
    ids = bench.publish("one", max_retries=1)
    bench.claim("one", visibility_ms=10)
    bench.now += 10
    assert bench.claim("_dead_letter", "one") == ("OK", ids)


def test_returned_leases_keep_their_place_between_the_windows(bench: Bench) -> None:
    ids = bench.publish("one", 6)
    assert bench.claim("one", want=4, visibility_ms=10)[1] == ids[:4]
    bench.now += 10
    bench.publish("two")
    assert bench.claim("one", "two", want=6) == ("OK", ids)


def _claim_twice(bench: Bench, *claims: int) -> list[list[str]]:
    key = bench.keys.claim("anna", "c1")
    items = [binding.ClaimItem("anna", 2, "", claim) for claim in claims]
    call = binding.claim_call(bench.keys, [bench.keys.queue("one")], [key, key], "ordered", items)
    return [[message.id.decode() for message in handed_out(reply)] for reply in bench.run(call).items]


def test_a_claim_id_twice_in_a_call_is_given_the_same_leases(bench: Bench) -> None:
    ids = bench.publish("one", 6)
    assert _claim_twice(bench, 1, 2) == [ids[:2], ids[:2]]
    assert _claim_twice(bench, 2, 0, 1) == [ids[:2], ids[2:4], ids[:2]]


def test_a_claim_id_does_not_hold_a_lease_that_the_call_takes_back(bench: Bench) -> None:
    ids = bench.publish("one")
    assert _claim_twice(bench, 1) == [ids]
    bench.now += 30000
    assert _claim_twice(bench, 1) == [ids]
    assert (bench.token(ids[0]), bench.record(ids[0]).attempts) == ("1.2", 2)


def test_a_claim_id_is_remembered_for_its_longest_lease(bench: Bench, client: Redis) -> None:
    bench.queue("two", visibility_ms=5)
    ids = bench.publish("one") + bench.publish("two")
    key = bench.keys.claim("anna", "c1")
    queues = [bench.keys.queue(slug) for slug in ("one", "two")]
    call = binding.claim_call(bench.keys, queues, [key], "ordered", [binding.ClaimItem("anna", 2, "", 1)])
    assert [message.id.decode() for message in handed_out(bench.run(call).items[0])] == ids
    assert 20000 < client.pttl(key) <= 30000


def test_a_bound_in_bytes_says_more(bench: Bench) -> None:
    bodies = 11
    bench.client.hset(bench.keys.shard.limits, "max_body", MIB)
    ids = [bench.publish("one", body=b"x" * (MIB - 1000))[0] for _ in range(bodies)]
    assert bench.claim("one", want=100) == ("MORE", ids[:8])
    assert bench.claim("one", want=100) == ("OK", ids[8:])
    big = bench.publish("one", body=b"y" * MIB)
    assert bench.claim("one", want=1) == ("OK", big)


def test_many_expired_messages_end_the_call_with_more(bench: Bench) -> None:
    bench.publish("one", 1000, ttl_ms=5)
    bench.publish("one", 1000, ttl_ms=5)
    last = bench.publish("one")
    bench.now += 5
    answers = [bench.claim("one") for _ in range(3)]
    assert ("OK", last) in answers
    assert answers[0] == ("MORE", [])
    assert bench.members("one", "expiry") == []


def test_a_paused_queue_refuses_and_the_others_serve(bench: Bench) -> None:
    ids = bench.publish("two")
    bench.queue("one", state="paused")
    assert bench.claim("one", "two") == ("OK", ids)
    queue = [bench.keys.queue("one")]
    call = binding.claim_call(bench.keys, queue, [], "ordered", [binding.ClaimItem("anna", 1)] * 2)
    assert words(bench.run(call).items) == [["PAUSED", "queue"]] * 2
