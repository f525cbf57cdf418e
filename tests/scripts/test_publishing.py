"""Publish: depth and overflow inside a batch, duplicates, bounds, order across publishers, bodies."""

from __future__ import annotations

import pytest
from redis import Redis

from scaiqueue.keys import QueueKeys
from scaiqueue.records import split_envelope
from scaiqueue.scripts import binding
from tests.scripts.bench import START, Bench, new_id
from tests.scripts.direct import handed_out, publish_item
from tests.scripts.shard import decode_entry

YEAR_2100 = 4_102_444_800_000


@pytest.fixture
def bench(client: Redis) -> Bench:
    return Bench(client)


def test_a_message_for_review_takes_no_place_in_the_queue(bench: Bench) -> None:
    bench.queue("one", max_depth=1, overflow="drop_oldest")
    queue = [bench.keys.queue("one")]

    def item(review_ms: int | str) -> binding.PublishItem:
        return publish_item(new_id(), body=b"", review_ms=review_ms)

    call = binding.publish_call(bench.keys, queue, [], "pat", 0, [item(500), item("")])
    assert [reply[1] for reply in bench.words(call)] == ["awaiting_review", "pending"]
    call = binding.publish_call(bench.keys, queue, [], "pat", 0, [item(500), item(500), item("")])
    assert [reply[0] for reply in bench.words(call)] == ["OK", "OK", "OK"]
    assert len(bench.members("one", "pending")) == 1


def test_a_call_cannot_drop_what_it_publishes(bench: Bench) -> None:
    bench.queue("one", max_depth=2, overflow="drop_oldest")
    old = bench.publish("one", 2)
    replies = bench.words(bench.publish_call("one", 3))
    assert [reply[0] for reply in replies] == ["OK", "OK", "FULL"]
    assert [bench.record(id).state for id in old] == [7, 7]


@pytest.mark.parametrize("ordering", ["fifo", "priority", "deadline"])
def test_the_oldest_is_dropped_in_every_ordering(bench: Bench, ordering: str) -> None:
    bench.queue("one", ordering=ordering, max_depth=3, overflow="drop_oldest")
    oldest = bench.publish("one", rank=1, deadline=YEAR_2100)
    bench.publish("one", rank=5000, deadline=START + 5)
    bench.publish("one", delay_ms=50)
    bench.publish("one", rank=4000)
    assert bench.record(oldest[0]).state == 7
    assert len(bench.members("one", "pending")) == 2


def test_scores_at_their_bounds_keep_the_order(bench: Bench) -> None:
    bench.queue("one", ordering="priority")
    bench.client.hset(bench.keys.key("meta"), "seq", 2**40 - 3)
    low, high = bench.publish("one", 2, rank=0), bench.publish("one", 2, rank=5000)
    scores = dict(bench.client.zrange(bench.keys.queue("one").key("pending"), 0, -1, withscores=True))
    assert [int(scores[id.encode()]) for id in low] == [5000 * 2**40 + 2**40 - 2, 5000 * 2**40 + 2**40 - 1]
    assert [int(scores[id.encode()]) for id in high] == [0, 1]
    assert bench.claim("one", want=3)[1] == [*high, low[0]]
    assert bench.record(low[1]).seq == 2**40 - 1


def test_deadlines_up_to_the_year_2100_are_exact(bench: Bench) -> None:
    bench.queue("one", ordering="deadline")
    none = bench.publish("one")
    last = bench.publish("one", deadline=YEAR_2100)
    before = bench.publish("one", deadline=YEAR_2100 - 1)
    assert bench.claim("one", want=3)[1] == [*before, *last, *none]


def test_two_publishers_get_one_order(bench: Bench, client: Redis) -> None:
    other = Bench(client)
    bench.queue("one")
    ids = [(bench if n % 2 else other).publish("one")[0] for n in range(20)]
    assert bench.claim("one", want=20) == ("OK", ids)
    assert [bench.record(id).seq for id in ids] == list(range(1, 21))


@pytest.mark.parametrize(
    "body", [b"", b"\0", b"\xff\xfe\0x", b'{"a":[],"n":12345678901234567890}', bytes(range(256)) * 1024]
)
def test_bodies_come_back_byte_by_byte(bench: Bench, body: bytes) -> None:
    bench.queue("one")
    bench.publish("one", body=body, header='{"type":"é"}'.encode())
    call = binding.claim_call(
        bench.keys, [bench.keys.queue("one")], [], "ordered", [binding.ClaimItem("anna", 1)]
    )
    ((message,),) = map(handed_out, bench.run(call).items)
    assert split_envelope(message.envelope) == ('{"type":"é"}'.encode(), body)
    assert message.record == bench.client.hget(bench.keys.key("state"), message.id)


def test_two_scopes_do_not_see_each_other(bench: Bench, client: Redis) -> None:
    other = Bench(client, scope="1")
    bench.queue("one")
    other.queue("one")
    (id,) = bench.publish("one")
    assert other.claim("one") == ("EMPTY", [])
    assert other.words(binding.cancel_call(other.keys, [binding.CancelItem(id, "op")])) == [["NOT_FOUND"]]
    assert other.publish("one", id=id) == [id]
    assert bench.claim("one") == ("OK", [id])


def test_a_waiter_hears_when_a_queue_becomes_non_empty(bench: Bench, client: Redis) -> None:
    bench.queue("one")
    with client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(bench.keys.shard.wake_channel)
        while listener.get_message(timeout=5):
            pass
        bench.publish("one", 2)
        bench.publish("one")
        bench.publish("one", delay_ms=5)
        bench.claim("one", want=3)
        bench.now += 5
        bench.sweep()
        bench.publish("one")
        heard = [message["data"].decode() for message in iter(lambda: listener.get_message(timeout=1), None)]
    root = QueueKeys(bench.keys, "one").root
    assert heard == [root, root]


def test_an_event_without_an_actor_stays_without_one(bench: Bench) -> None:
    """150 expired messages: more than claim settles at once, so some expire after others were leased."""
    bench.queue("one", ordering="priority")
    bench.publish("one", 150, ttl_ms=5)
    bench.publish("one", rank=5000)
    bench.publish("one", rank=0)
    bench.now += 5
    assert bench.claim("one", want=2)[0] in ("OK", "MORE")
    ((_, fields),) = bench.client.xrevrange(bench.keys.shard.journal, count=1)
    actors = {(line[0], line[3]) for lines in decode_entry(fields).events.values() for line in lines}
    assert actors == {("claimed", "anna"), ("expired", "")}
