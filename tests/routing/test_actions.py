"""Each trigger with each action that it allows, on the scripts alone: state, place, history, copies."""

from __future__ import annotations

from typing import Any

import pytest

from scaiqueue.scripts import binding
from tests.routing.rules import events, instruct, overlay, rule
from tests.scripts.bench import Bench

PREMIUM = '{"type":"order","labels":{"tier":"premium"},"correlation_id":"c1"}'
TIER = {"field": "labels.tier", "op": "eq", "value": "premium"}
MOVE_B = {"route": {"queue": "b"}}
COPY_B = {"route": {"queue": "b", "mode": "copy"}}
STATES = {1: "scheduled", 2: "pending", 5: "completed", 6: "expired", 8: "archived"}


def where(bench: Bench, id: str) -> tuple[str, str]:
    record = bench.record(id)
    return STATES[record.state], record.queue


def end(bench: Bench, trigger: str, **options: Any) -> str:
    """A message of queue `a` that meets the trigger; its id."""
    if trigger == "expired":
        (id,) = bench.publish("a", header=PREMIUM, ttl_ms=10, **options)
        bench.now += 20
        bench.sweep()
        return id
    (id,) = bench.publish("a", header=PREMIUM, max_retries=1 if trigger == "dead_lettered" else 3, **options)
    if trigger == "published":
        return id
    assert bench.claim("a")[1] == [id]
    (held,) = bench.held([id])
    if trigger == "completed":
        call = binding.complete_call(bench.keys, [binding.CompleteItem(**held)])
    else:
        call = binding.fail_call(bench.keys, [binding.FailItem(**held, reason="broken")])
    assert bench.words(call)[0][0] == "OK"
    return id


@pytest.mark.parametrize("trigger", ["published", "failed", "dead_lettered", "expired"])
def test_a_move_sends_the_message_itself(bench: Bench, trigger: str) -> None:
    instruct(bench, rule(trigger, MOVE_B, TIER, name="vip"))
    id = end(bench, trigger)
    assert where(bench, id) == ("pending", "b")
    assert bench.members("b", "pending") == [id]
    assert bench.members("a", "expiry") == bench.members("b", "expiry") == []
    assert events(bench, id)[-1] == ("routed", "b", "vip")
    assert events(bench, id)[-2][0] in ("published", "failed", "expired")
    assert overlay(bench, id) == {"hops": 1}
    assert bench.record(id).attempts == (1 if trigger == "failed" else 0)


@pytest.mark.parametrize(
    ("trigger", "original"),
    [
        ("published", ("pending", "a")),
        ("failed", ("scheduled", "a")),
        ("dead_lettered", ("pending", "_dead_letter")),
        ("completed", ("completed", "a")),
        ("expired", ("expired", "a")),
    ],
)
def test_a_copy_is_a_message_of_its_own(bench: Bench, trigger: str, original: tuple[str, str]) -> None:
    instruct(bench, rule(trigger, COPY_B, TIER, name="vip"))
    id = end(bench, trigger, body="[1]")
    assert where(bench, id) == original
    (copy,) = bench.members("b", "pending")
    assert copy[:13] == id[:13]
    assert copy[14] == "7"
    assert copy != id
    envelopes = bench.client.hmget(bench.keys.key("body"), [id, copy])
    assert envelopes[0] == envelopes[1]
    found = overlay(bench, copy)
    assert (found["parent_id"], found["causation_id"], found["hops"]) == (id, id, 1)
    assert found["idempotency_key"] is None
    assert overlay(bench, id) == {}
    assert events(bench, copy) == [("published", "b", f"copy of {id}")]
    assert ("routed", "b", f"vip: copy {copy}") in events(bench, id)
    record = bench.record(copy)
    assert (record.attempts, record.seq, record.token, record.expires_at) == (0, 2, "", 0)
    assert bench.claim("b")[1] == [copy]
    limits = bench.client.hgetall(bench.keys.shard.limits)
    assert limits[b"published"] == b"2"


@pytest.mark.parametrize("trigger", ["published", "failed", "dead_lettered", "expired"])
def test_archive_ends_the_message(bench: Bench, trigger: str) -> None:
    instruct(bench, rule(trigger, {"archive": True}, TIER, name="away"))
    id = end(bench, trigger)
    assert where(bench, id) == ("archived", "a")
    assert events(bench, id)[-1] == ("archived", "a", "away")
    for name in ("pending", "scheduled", "claimed", "expiry"):
        assert bench.members("a", name) == []


@pytest.mark.parametrize(
    ("trigger", "place"),
    [
        ("published", ("scheduled", "a")),
        ("failed", ("scheduled", "a")),
        ("dead_lettered", ("pending", "_dead_letter")),
    ],
)
def test_transform_changes_what_the_message_says(bench: Bench, trigger: str, place: tuple[str, str]) -> None:
    change = {
        "labels": {"tier": None, "seen": "yes"},
        "type": "other",
        "priority": {"tier": "high", "score": 7},
        "delay_s": 5,
        "ttl_seconds": 60,
    }
    instruct(bench, rule(trigger, {"transform": change}, TIER))
    id = end(bench, trigger)
    record = bench.record(id)
    assert where(bench, id) == place
    assert record.rank == 3007
    assert overlay(bench, id) == {
        "labels": {"seen": "yes"},
        "type": "other",
        "priority": {"tier": "high", "score": 7},
        "ttl_seconds": 60,
    }
    if trigger != "dead_lettered":
        assert (record.due_at, record.expires_at) == (bench.now + 5000, bench.now + 60_000)
    assert bench.client.hget(bench.keys.key("body"), id).startswith(PREMIUM.encode())


@pytest.mark.parametrize("trigger", ["published", "failed", "dead_lettered", "expired"])
def test_escalate_raises_and_moves(bench: Bench, trigger: str) -> None:
    priority = {"tier": "critical", "score": 1}
    instruct(bench, rule(trigger, {"escalate": {"queue": "b", "priority": priority}}, TIER))
    id = end(bench, trigger)
    assert where(bench, id) == ("pending", "b")
    assert bench.record(id).rank == 4001
    assert overlay(bench, id) == {"hops": 1, "priority": priority}


def test_escalate_never_lowers(bench: Bench) -> None:
    instruct(bench, rule("published", {"escalate": {"priority": {"tier": "low", "score": 0}}}))
    (id,) = bench.publish("a", rank=3000)
    assert bench.record(id).rank == 3000
    assert overlay(bench, id) == {}


def test_transform_with_a_copy_changes_the_copy(bench: Bench) -> None:
    instruct(bench, rule("completed", {**COPY_B, "transform": {"type": "invoice", "delay_s": 2}}, TIER))
    id = end(bench, "completed")
    (copy,) = bench.members("b", "scheduled")
    assert overlay(bench, copy)["type"] == "invoice"
    assert overlay(bench, id) == {}


def test_the_first_rule_that_matches_wins(bench: Bench) -> None:
    instruct(
        bench,
        rule("published", {"route": {"queue": "c"}}, {"not": TIER}, name="one"),
        rule("published", MOVE_B, name="two", queue="b"),
        rule("published", MOVE_B, name="three", queue="a"),
        rule("published", {"archive": True}, name="four", queue="a"),
    )
    assert where(bench, end(bench, "published")) == ("pending", "b")


def test_a_moved_message_meets_the_rules_of_where_it_comes(bench: Bench) -> None:
    instruct(
        bench,
        rule("failed", MOVE_B, name="away"),
        rule("published", {"route": {"queue": "c"}}, name="on", queue="b"),
    )
    id = end(bench, "failed")
    assert where(bench, id) == ("pending", "c")
    assert [event[0] for event in events(bench, id)] == ["published", "claimed", "failed", "routed", "routed"]
    assert overlay(bench, id) == {"hops": 2}


def test_a_loop_ends_in_the_dead_letter(bench: Bench) -> None:
    instruct(
        bench,
        rule("published", MOVE_B, name="there", queue="a"),
        rule("published", {"route": {"queue": "a"}}, name="back", queue="b"),
        hops=4,
    )
    id = end(bench, "published")
    assert where(bench, id) == ("pending", "_dead_letter")
    assert bench.record(id).dead_letter_origin.reason == "ROUTING_LOOP"  # type: ignore[union-attr]
    assert [event[0] for event in events(bench, id)] == ["published", *["routed"] * 4, "dead_lettered"]


def test_hops_count_over_a_messages_whole_life(bench: Bench) -> None:
    instruct(
        bench,
        rule("failed", MOVE_B, name="there", queue="a"),
        rule("failed", {"route": {"queue": "a"}}, name="back", queue="b"),
        hops=3,
    )
    (id,) = bench.publish("a", max_retries=100)
    for _ in range(4):
        bench.claim("a", "b")
        (held,) = bench.held([id])
        bench.run(binding.fail_call(bench.keys, [binding.FailItem(**held)]))
    assert where(bench, id) == ("pending", "_dead_letter")
    assert bench.record(id).dead_letter_origin.reason == "ROUTING_LOOP"  # type: ignore[union-attr]


def test_copies_of_copies_end_at_the_hop_limit(bench: Bench) -> None:
    instruct(
        bench,
        rule("published", COPY_B, name="there", queue="a"),
        rule("published", {"route": {"queue": "a", "mode": "copy"}}, name="back", queue="b"),
        hops=3,
    )
    bench.publish("a")
    assert [len(bench.members(slug, "pending")) for slug in ("a", "b", "_dead_letter")] == [2, 2, 1]


@pytest.mark.parametrize("state", ["paused", "draining", "archived", "full", "gone"])
@pytest.mark.parametrize("then", [MOVE_B, COPY_B])
def test_a_target_that_takes_nothing(bench: Bench, state: str, then: dict[str, Any]) -> None:
    if state == "full":
        bench.queue("b", max_depth=1, overflow="drop_oldest")
        bench.publish("b")
    elif state == "gone":
        bench.client.delete(bench.keys.queue("b").key("meta"))
    else:
        bench.queue("b", state=state)
    instruct(bench, rule("published", then, queue="a"))
    id = end(bench, "published")
    (dead,) = bench.members("_dead_letter", "pending")
    assert (dead == id) == (then == MOVE_B)
    origin = bench.record(dead).dead_letter_origin
    assert origin is not None
    assert (origin.queue, origin.reason) == ("a" if dead == id else "b", "ROUTE_TARGET")


def test_a_batch_fills_a_target_to_its_depth(bench: Bench) -> None:
    bench.queue("b", max_depth=2)
    instruct(bench, rule("published", MOVE_B, queue="a"))
    bench.publish("a", 3)
    assert [len(bench.members(slug, "pending")) for slug in ("b", "_dead_letter")] == [2, 1]


def test_the_depth_of_the_first_queue_does_not_matter_to_what_leaves_it(bench: Bench) -> None:
    bench.queue("a", max_depth=1)
    instruct(bench, rule("published", MOVE_B, TIER, queue="a"))
    bench.publish("a")
    plain, moved = bench.words(bench.publish_call("a")), bench.words(bench.publish_call("a", header=PREMIUM))
    assert (plain, moved) == ([["FULL"]], [["OK", "pending", "routed"]])


def test_a_refused_message_leaves_no_copy(bench: Bench) -> None:
    bench.queue("a", max_depth=1)
    instruct(bench, rule("published", COPY_B, queue="a"))
    assert bench.words(bench.publish_call("a", 2)) == [["OK", "pending", "routed"], ["FULL"]]
    assert len(bench.members("b", "pending")) == 1


def test_a_lost_lease_is_dead_lettered_by_the_rules(bench: Bench) -> None:
    instruct(bench, rule("dead_lettered", MOVE_B))
    (id,) = bench.publish("a", max_retries=1)
    bench.claim("a", visibility_ms=10)
    bench.now += 20
    assert bench.claim("a") == ("EMPTY", [])
    assert where(bench, id) == ("pending", "b")
    assert [event[0] for event in events(bench, id)][-2:] == ["lease_lost", "routed"]


def test_a_claim_that_finds_an_expired_message_asks_the_rules(bench: Bench) -> None:
    instruct(bench, rule("expired", COPY_B))
    (id,) = bench.publish("a", ttl_ms=10)
    bench.now += 20
    assert bench.claim("a") == ("EMPTY", [])
    assert where(bench, id) == ("expired", "a")
    assert len(bench.claim("b")[1]) == 1


def test_a_cancelled_message_meets_no_rule(bench: Bench) -> None:
    instruct(bench, rule("failed", MOVE_B))
    (id,) = bench.publish("a")
    bench.claim("a")
    (held,) = bench.held([id])
    bench.run(binding.cancel_call(bench.keys, [binding.CancelItem(id, "pat")]))
    bench.run(binding.fail_call(bench.keys, [binding.FailItem(**held)]))
    assert bench.record(id).state == 7


def test_too_many_copies_are_refused_before_anything_is_written(bench: Bench) -> None:
    instruct(bench, rule("published", COPY_B, queue="a"), rule("completed", COPY_B))
    ids = bench.publish("a", 500)
    before = bench.client.hlen(bench.keys.key("state"))
    assert before == 1000
    assert bench.words(bench.publish_call("a", 501)) == [["SPLIT"]] * 501
    assert bench.client.hlen(bench.keys.key("state")) == before
    bench.queue("c")
    bench.publish("c", 501)
    held = bench.held(bench.claim("c", want=501)[1])
    call = binding.complete_call(bench.keys, [binding.CompleteItem(**each) for each in held])
    assert bench.words(call) == [["SPLIT"]] * 501
    call = binding.complete_call(bench.keys, [binding.CompleteItem(**each) for each in held[:500]])
    assert [reply[0] for reply in bench.words(call)] == ["OK"] * 500
    assert len(bench.members("b", "pending")) == len(ids) + 500


def test_a_message_for_review_is_reviewed_where_it_is_sent(bench: Bench) -> None:
    instruct(bench, rule("published", MOVE_B))
    (id,) = bench.publish("a", review_ms=500)
    assert bench.members("b", "review") == [id]
    assert bench.record(id).state == 4


def test_rules_are_taken_away_again(bench: Bench) -> None:
    instruct(bench, rule("published", MOVE_B))
    instruct(bench)
    assert where(bench, end(bench, "published")) == ("pending", "a")
    assert bench.client.hget(bench.keys.key("meta"), "rules") is None
    assert not bench.client.exists(bench.keys.key("rules"))


def test_older_rules_change_nothing(bench: Bench) -> None:
    instruct(bench, rule("published", MOVE_B))
    call = binding.instruct_call(bench.keys, 1, "", b"", [])
    assert bench.words(call)[0][0] == "CONFLICT"
    assert where(bench, end(bench, "published")) == ("pending", "b")


def test_a_rule_does_nothing_where_its_target_is(bench: Bench) -> None:
    instruct(
        bench,
        rule("published", {**MOVE_B, "transform": {"delay_s": 1}}, TIER, name="vip"),
        rule("published", {"archive": True}, name="rest", queue="b"),
    )
    (id,) = bench.publish("b", header=PREMIUM)
    assert where(bench, id) == ("pending", "b")
    assert overlay(bench, id) == {}
    assert where(bench, end(bench, "published")) == ("scheduled", "b")
    breaker = bench.client.hgetall(bench.keys.key("breakers"))
    assert [value.split()[2] for value in breaker.values()] == [b"1"]


@pytest.mark.parametrize("trigger", ["failed", "completed"])
def test_what_is_in_the_dead_letter_meets_no_rule(bench: Bench, trigger: str) -> None:
    instruct(bench, rule(trigger, COPY_B))
    (id,) = bench.publish("a", max_retries=0)
    bench.claim("a", visibility_ms=1)
    bench.now += 2
    bench.sweep()
    assert bench.claim("_dead_letter")[1] == [id]
    (held,) = bench.held([id])
    call = (
        binding.complete_call(bench.keys, [binding.CompleteItem(**held)])
        if trigger == "completed"
        else binding.fail_call(bench.keys, [binding.FailItem(**held)])
    )
    assert bench.words(call)[0][0] == "OK"
    assert bench.members("b", "pending") == []


@pytest.mark.parametrize(("size", "place"), [(60_000, "b"), (70_000, "a")])
def test_a_direct_callers_large_body_is_not_looked_into(bench: Bench, size: int, place: str) -> None:
    instruct(bench, rule("published", MOVE_B, {"field": "body.n", "op": "eq", "value": 1}))
    body = '{"n":1,"padding":"' + "x" * size + '"}'
    (id,) = bench.publish("a", body=body)
    assert where(bench, id) == ("pending", place)
    skipped = bench.client.hget(bench.keys.key("breakers"), "bodies_skipped")
    assert skipped == (b"1" if place == "a" else None)
    (id,) = bench.publish("a", body=body, values='{"n":1}')
    assert where(bench, id) == ("pending", "b")


def test_copies_of_a_batch_fill_a_target_to_its_depth(bench: Bench) -> None:
    bench.queue("b", max_depth=2)
    instruct(bench, rule("published", COPY_B, queue="a"))
    bench.publish("a", 3)
    assert [len(bench.members(slug, "pending")) for slug in ("a", "b", "_dead_letter")] == [3, 2, 1]


def test_what_is_sent_on_takes_no_place_on_its_way(bench: Bench) -> None:
    bench.queue("b", max_depth=1)
    instruct(
        bench,
        rule("published", MOVE_B, queue="a"),
        rule("published", {"route": {"queue": "c"}}, TIER, queue="b", name="on"),
    )
    bench.publish("a", 2, header=PREMIUM)
    bench.publish("a", 2)
    assert [len(bench.members(slug, "pending")) for slug in ("b", "c", "_dead_letter")] == [1, 2, 1]
