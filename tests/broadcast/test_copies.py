"""What publish makes for subscriptions: a record each, one envelope for all."""

from __future__ import annotations

from msgspec.json import encode
from redis import Redis

from scaiqueue.broadcast.program import copy_id
from scaiqueue.persister.journal import decode
from scaiqueue.records import Flag, State, encode_record
from scaiqueue.scripts import binding
from tests.broadcast.conftest import Newsroom
from tests.routing.rules import instruct, rule
from tests.scripts.direct import publish_item


def journal_events(news: Newsroom) -> list[tuple[str, str, list[str]]]:
    (raw,) = news.client.xrevrange(news.keys.shard.journal, count=1)
    return [(group.event, group.queue, group.ids) for group in decode(raw).groups]


def test_each_subscription_gets_a_copy_and_the_message_has_ended(news: Newsroom) -> None:
    news.subscribe("a")
    news.subscribe("b")
    first, second = news.publish("news", 2)
    assert news.record(first).state == State.completed
    assert news.members("news", "pending") == []
    for name in ("a", "b"):
        assert news.parents(news.copies(name)) == [first, second]
    copies = {name: news.copies(name) for name in ("a", "b")}
    assert len({*copies["a"], *copies["b"]}) == 4
    assert set(news.envelopes()) == {first, second}
    assert news.client.hlen(news.keys.key("body")) == 0
    assert news.shares() == {first: 3, second: 3}
    # One entry for all of it, and a group for each subscription.
    events = journal_events(news)
    assert ("published", "news.a", copies["a"]) in events
    assert ("published", "news.b", copies["b"]) in events
    assert [ids for event, _, ids in events if event == "broadcast"] == [[first], [second]]
    assert news.client.hget(news.keys.shard.limits, "published") == b"6"


def test_without_subscriptions_a_message_has_ended_and_is_kept_for_those_who_come(news: Newsroom) -> None:
    (id,) = news.publish("news")
    record = news.record(id)
    assert (record.state, record.shared, record.flags & Flag.shared_body) == (State.completed, id, 128)
    assert news.shares() == {id: 1}
    assert news.forget(id) == [["OK"]]
    assert (news.envelopes(), news.shares()) == ({}, {})


def test_a_copy_has_its_own_lease_attempts_and_dead_letter(news: Newsroom) -> None:
    for name in ("slow", "quick"):
        news.subscribe(name)
    (id,) = news.publish("news")
    (slow,), (quick,) = news.copies("slow"), news.copies("quick")
    assert news.claim("news.slow") == ("OK", [slow])
    assert news.claim("news.quick") == ("OK", [quick])
    news.complete(quick)
    assert (news.record(slow).state, news.record(quick).state) == (State.claimed, State.completed)
    for _ in range(2):
        item = binding.FailItem(**news.held([slow])[0])
        news.run(binding.fail_call(news.keys, [item]))
        news.now += 1000
        news.claim("news.slow")
    buried = news.record(slow)
    assert (buried.queue, buried.origin[0], buried.shared) == ("_dead_letter", "news.slow", id)
    word, claimed = news.claim("_dead_letter")
    assert (word, claimed) == ("OK", [slow])
    news.run(binding.release_call(news.keys, [binding.ReleaseItem(**news.held([slow])[0])]))
    assert news.words(binding.redrive_call(news.keys, [binding.RedriveItem(slow, "pat")])) == [
        ["OK", "news.slow"]
    ]
    assert news.claim("news.slow") == ("OK", [slow])


def test_what_is_claimed_has_the_body_of_the_first(news: Newsroom) -> None:
    news.subscribe("a")
    news.publish("news", body=b'{"n":1}')
    news.publish("news", body=b'{"n":2}', ttl_ms=5000, max_retries=0)
    items = [binding.ClaimItem("anna", 10)]
    (reply,) = news.run(
        binding.claim_call(news.keys, [news.keys.queue("news.a")], [], "ordered", items)
    ).items
    assert [envelope.partition(b"\n")[2] for envelope in reply[6::3]] == [b'{"n":1}', b'{"n":2}']


def test_an_envelope_goes_with_the_last_who_shares_it(news: Newsroom) -> None:
    news.subscribe("a")
    news.subscribe("b")
    (id,) = news.publish("news")
    (first,), (second,) = news.copies("a"), news.copies("b")
    for name in ("news.a", "news.b"):
        news.claim(name)
    news.complete(first, second)
    news.forget(id)
    assert news.shares() == {id: 2}
    news.forget(first)
    assert set(news.envelopes()) == {id}
    news.forget(second)
    assert (news.envelopes(), news.shares()) == ({}, {})
    assert news.client.hlen(news.keys.key("state")) == 0


def test_order_delay_priority_and_expiry_are_those_of_the_message(client: Redis) -> None:
    news = Newsroom(client, ordering="priority")
    news.subscribe("a")
    (low,) = news.publish("news", rank=1000)
    (high,) = news.publish("news", rank=4000, ttl_ms=60_000)
    (later,) = news.publish("news", delay_ms=5000)
    assert news.parents(news.copies("a")) == [high, low]
    assert news.parents(news.copies("a", "expiry")) == [high]
    assert news.parents(news.copies("a", "scheduled")) == [later]
    news.now += 5000
    news.sweep()
    assert news.parents(news.copies("a")) == [high, later, low]
    news.now += 60_000
    news.sweep()
    assert news.parents(news.copies("a")) == [later, low]


def test_a_copy_can_await_its_own_review(news: Newsroom) -> None:
    news.subscribe("a")
    news.subscribe("b")
    news.publish("news", review_ms=1000, header=b'{"hitl_spec":{"on_timeout":"requeue"}}')
    assert (len(news.copies("a", "review")), len(news.copies("b", "review"))) == (1, 1)
    news.now += 1000
    while news.sweep()[0] != "EMPTY":
        pass
    assert (len(news.copies("a")), len(news.copies("b"))) == (1, 1)


def test_filters_choose_who_gets_what(news: Newsroom) -> None:
    news.subscribe("all")
    news.subscribe("sport", types=["sport.goal", "sport.end"])
    news.subscribe("local", labels={"town": "ghent"})
    news.subscribe("big", when={"field": "body.size", "op": "gte", "value": 10})
    news.subscribe(
        "both",
        types=["sport.goal"],
        labels={"town": "ghent"},
        when={"not": {"field": "priority.tier", "op": "eq", "value": "low"}},
    )
    ghent = {"labels": {"town": "ghent"}}
    (goal,) = news.publish("news", header=encode({"type": "sport.goal", **ghent}), body=b'{"size":3}')
    (fire,) = news.publish("news", header=encode({"type": "fire", **ghent}), body=b'{"size":30}')
    (end,) = news.publish("news", header=encode({"type": "sport.end"}), rank=1500, body=b"null")
    got = {name: news.parents(news.copies(name)) for name in news.roster}
    assert got == {
        "all": [goal, fire, end],
        "sport": [goal, end],
        "local": [goal, fire],
        "big": [fire],
        "both": [goal],
    }


def test_a_key_is_delivered_once_within_the_window(news: Newsroom) -> None:
    news.subscribe("once", dedup_window_s=60)
    news.subscribe("each")
    key = news.keys.idempotency("news", "k")

    def publish(digest: str) -> list[list[object]]:
        options = {"idem": 1, "idem_ms": 1000, "digest": digest}
        item = publish_item(id=news.new_id(), **options)
        return news.words(binding.publish_call(news.keys, [news.keys.queue("news")], [key], "pat", 0, [item]))

    assert publish("d")[0][0] == "OK"
    assert publish("d")[0][0] == "DUPLICATE"
    news.client.delete(key)  # the queue's own window is over
    assert publish("other")[0][0] == "OK"
    assert (len(news.copies("once")), len(news.copies("each"))) == (1, 2)
    seen = news.keys.idempotency("news.once", "k")
    assert news.client.get(seen) == f"{news.copies('once')[0]} d".encode()
    assert 0 < news.client.pttl(seen) <= 60_000


def test_a_bounded_queue_bounds_each_subscription(client: Redis) -> None:
    for overflow in ("drop_oldest", "dead_letter"):
        client.flushall()
        news = Newsroom(client, max_depth=2, overflow=overflow)
        news.subscribe("slow")
        news.subscribe("quick")
        ids = [*news.publish("news", 2), *news.publish("news", 1)]
        for copy in news.copies("quick")[:2]:
            news.claim("news.quick")
            news.complete(copy)
        ids += news.publish("news", 1)
        if overflow == "drop_oldest":
            assert news.parents(news.copies("slow")) == ids[2:]
            assert news.parents(news.copies("quick")) == ids[-1:]
        else:
            assert news.parents(news.copies("slow")) == ids[:2]
            assert news.parents(news.members("_dead_letter", "pending"))[0] == ids[2]
        assert sum(news.shares().values()) == client.hlen(news.keys.key("state"))


def test_too_many_copies_for_one_call_are_refused_before_anything_is_written(news: Newsroom) -> None:
    for number in range(20):
        news.subscribe(f"s{number}")
    before = news.client.xlen(news.keys.shard.journal)
    assert {reply[0] for reply in news.words(news.publish_call("news", 60))} == {"SPLIT"}
    assert news.client.xlen(news.keys.shard.journal) == before
    assert news.client.exists(news.keys.key("state")) == 0
    news.publish("news", 47)
    assert news.client.hlen(news.keys.key("state")) == 47 * 21


def test_a_broadcast_queue_is_not_claimed_from_and_copies_not_published_into(news: Newsroom) -> None:
    news.subscribe("a")
    assert news.claim("news")[0] == "READONLY"
    assert news.words(news.publish_call("news.a")) == [["READONLY", "queue"]]
    news.queue("plain")
    (id,) = news.publish("plain")
    news.claim("plain")
    item = binding.FailItem(**news.held([id])[0], retryable=0)
    news.run(binding.fail_call(news.keys, [item]))
    assert news.words(binding.redrive_call(news.keys, [binding.RedriveItem(id, "pat", "news")])) == [
        ["READONLY", "queue"]
    ]
    news.queue("news", access="broadcast", state="paused")
    assert news.words(news.publish_call("news")) == [["PAUSED", "queue"]]


def test_other_queues_of_the_same_call_are_as_ever(news: Newsroom) -> None:
    news.subscribe("a")
    news.queue("plain")
    items = [
        publish_item(id=news.new_id()),
        publish_item(id=news.new_id(), queue=2),
        publish_item(id=news.new_id()),
    ]
    queues = [news.keys.queue("plain"), news.keys.queue("news")]
    replies = news.words(binding.publish_call(news.keys, queues, [], "pat", 0, items))
    assert replies == [["OK", "pending"], ["OK", "completed"], ["OK", "pending"]]
    assert (len(news.members("plain", "pending")), len(news.copies("a"))) == (2, 1)
    assert news.client.hlen(news.keys.key("body")) == 2


def test_an_older_roster_changes_nothing(news: Newsroom) -> None:
    news.subscribe("a")
    call = binding.subscribe_call(news.keys, news.keys.queue("news"), 1, b"")
    assert news.words(call)[0][0] == "CONFLICT"
    news.publish("news")
    assert len(news.copies("a")) == 1
    news.unsubscribe("a")
    news.publish("news")
    assert len(news.copies("a")) == 1
    assert news.client.exists(news.keys.queue("news").key("subscriptions")) == 0


def test_the_time_of_a_copys_id_is_its_parents(news: Newsroom) -> None:
    news.subscribe("a")
    (id,) = news.publish("news")
    (copy,) = news.copies("a")
    assert (copy[:13], copy[14]) == (id[:13], "7")
    assert copy == copy_id(id, news.roster["a"].id)


def test_rules_come_first_and_what_they_change_the_copies_have_too(news: Newsroom) -> None:
    news.subscribe("a", labels={"seen": "yes"})
    news.queue("aside")
    aside = {"field": "type", "op": "eq", "value": "aside"}
    instruct(
        news,
        rule("published", {"route": {"queue": "aside"}}, aside, name="one"),
        rule("published", {"transform": {"labels": {"seen": "yes"}, "type": "new"}}, name="two"),
    )
    (changed,) = news.publish("news", header=encode({"type": "old"}))
    (moved,) = news.publish("news", header=encode({"type": "aside"}))
    assert news.members("aside", "pending") == [moved]
    (copy,) = news.copies("a")
    overlays = news.client.hmget(news.keys.key("overlay"), [changed, copy])
    assert overlays == [b'{"labels":{"seen":"yes"},"type":"new"}'] * 2
    assert news.record(copy).flags & Flag.overlay
    assert news.client.hkeys(news.keys.key("body")) == [moved.encode()]


def test_rules_for_failures_read_the_shared_envelope_and_copy_it(news: Newsroom) -> None:
    news.subscribe("a")
    news.queue("failures")
    when = {"field": "body.n", "op": "eq", "value": 1}
    instruct(news, rule("failed", {"route": {"queue": "failures", "mode": "copy"}}, when))
    news.publish("news", body=b'{"n":1}')
    (copy,) = news.copies("a")
    news.claim("news.a")
    news.run(binding.fail_call(news.keys, [binding.FailItem(**news.held([copy])[0])]))
    (made,) = news.members("failures", "pending")
    assert news.record(made).shared == ""
    assert news.client.hget(news.keys.key("body"), made) == b'{}\n{"n":1}'


def test_a_rule_can_not_route_into_a_broadcast_queue(news: Newsroom) -> None:
    news.subscribe("a")
    news.queue("plain")
    instruct(news, rule("published", {"route": {"queue": "news"}}))
    (id,) = news.publish("plain")
    assert news.record(id).origin[1] == "ROUTE_TARGET"


def backfill(news: Newsroom, slug: str, *items: binding.BackfillItem) -> list[list[object]]:
    return news.words(binding.backfill_call(news.keys, news.keys.queue("news"), slug, "pat", items))


def stored(news: Newsroom, id: str) -> binding.BackfillItem:
    """A message as the rows have it."""
    return binding.BackfillItem(id, encode_record(news.record(id)), news.envelopes()[id])


def test_older_messages_are_copied_in_their_order_once_and_where_they_are_wanted(news: Newsroom) -> None:
    news.subscribe("a")
    before = news.publish("news", 2, body=b'{"n":1}')
    others = [*news.publish("news", header=b'{"type":"no"}'), *news.publish("news", ttl_ms=1000)]
    items = [stored(news, id) for id in before + others]
    news.forget(before[0])
    newest = news.subscribe("late", when={"not": {"field": "type", "op": "eq", "value": "no"}})
    assert newest == 4
    (after,) = news.publish("news")
    news.now += 2000
    replies = backfill(news, "news.late", *items)
    assert [reply[0] for reply in replies] == ["OK", "OK", "KEPT", "KEPT"]
    assert news.parents(news.copies("late")) == [*before, after]
    assert {reply[0] for reply in backfill(news, "news.late", *items)} == {"KEPT"}
    assert news.shares()[before[0]] == 2  # its copies: it is forgotten itself
    assert news.copies("late")[:2] == [reply[1] for reply in replies[:2]]
    assert backfill(news, "news.nobody", items[0]) == [["NOT_FOUND", "subscription"]]


def test_copies_come_back_with_one_envelope(news: Newsroom) -> None:
    news.subscribe("a")
    news.subscribe("b")
    (id,) = news.publish("news", body=b'{"n":1}')
    copies = [*news.copies("a"), *news.copies("b")]
    news.claim("news.b")
    envelope = news.envelopes()[id]
    parts = [(copies[0], envelope), (copies[1], b""), (id, b"")]
    items = [binding.RestoreItem(of, encode_record(news.record(of)), given) for of, given in parts]
    epoch = news.client.get(news.keys.shard.epoch)
    for emptied in (True, False):
        if emptied:
            news.client.delete(*(news.keys.key(name) for name in ("state", "shared", "shares", "outcome")))
        news.client.delete(news.keys.shard.epoch)
        news.run(binding.restore_call(news.keys, 10, 10, items, epoch=epoch))
        news.client.set(news.keys.shard.epoch, epoch)
        assert (news.shares(), news.envelopes()) == ({id: 2}, {id: envelope})
        assert news.client.hexists(news.keys.key("state"), id) is False
    word, (claimed,) = news.claim("news.b")
    assert (word, claimed) == ("OK", copies[1])


def test_a_lost_copy_is_repaired_with_its_share(news: Newsroom) -> None:
    news.subscribe("a")
    (id,) = news.publish("news")
    (copy,) = news.copies("a")
    record, envelope = encode_record(news.record(copy)), news.envelopes()[id]
    news.client.hdel(news.keys.key("state"), copy)
    news.client.delete(news.keys.key("shared"))
    news.client.hincrby(news.keys.key("shares"), id, -1)
    item = binding.RepairItem(copy, "not_indexed", record, envelope)
    queues = [news.keys.queue("news.a")]
    assert news.words(binding.repair_call(news.keys, queues, [], 0, 0, [item])) == [["OK"]]
    assert (news.shares(), news.envelopes()) == ({id: 2}, {id: envelope})
    assert news.claim("news.a") == ("OK", [copy])
