"""Rules that ask a human, on the scripts alone: each trigger, what the human is shown, how it ends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scaiqueue.queueing.header import encode_header, read_header
from scaiqueue.records import State
from scaiqueue.routing.program import CompiledRule
from scaiqueue.scripts import binding
from tests.routing.rules import events, instruct, overlay, rule
from tests.routing.test_actions import end
from tests.scripts.bench import Bench

HUMAN: dict[str, Any] = {"escalate": {"hitl_pattern": {"name": "p"}}}
ELSEWHERE: dict[str, Any] = {"escalate": {"hitl_pattern": {"name": "p"}, "queue": "b"}}
MINUTE = 60_000


def spec(on_timeout: str = "expire", text: str = "fixed", content: Any = None) -> dict[str, Any]:
    return {
        "sections": [
            {"type": "context", "title": text, "content": content},
            {"type": "decision", "field": "d", "options": ["yes", "no"]},
        ],
        "timeout_s": MINUTE / 1000,
        "on_timeout": on_timeout,
    }


def asks(trigger: str, then: dict[str, Any] = HUMAN, on_timeout: str = "expire") -> CompiledRule:
    return rule(trigger, then, name="human", review=spec(on_timeout))


def shown(bench: Bench, id: str) -> Any:
    """The `hitl_spec` that readers see."""
    packed = bench.client.hget(bench.keys.key("overlay"), id)
    return read_header(b'{"type":"t"}', packed or b"").hitl_spec


@pytest.mark.parametrize("trigger", ["published", "failed", "dead_lettered", "expired"])
@pytest.mark.parametrize("then", [HUMAN, ELSEWHERE])
def test_it_awaits_a_decision_in_the_same_step(bench: Bench, trigger: str, then: dict[str, Any]) -> None:
    instruct(bench, asks(trigger, then))
    queue = "b" if then is ELSEWHERE else "a"
    id = end(bench, trigger)
    record = bench.record(id)
    assert (record.state, record.queue, record.due_at) == (State.awaiting_review, queue, bench.now + MINUTE)
    assert bench.members(queue, "review") == [id]
    for slug in ("a", "b"):
        assert bench.members(slug, "pending") == bench.members(slug, "claimed") == []
        assert bench.members(slug, "expiry") == []
    assert shown(bench, id) == spec()
    assert overlay(bench, id)["hops"] == 1
    assert events(bench, id)[-1] == ("escalated", queue, "human: review")
    assert record.attempts == (1 if trigger == "failed" else 0)
    decision = binding.DecideItem(id, str(record.version), "ada", b'{"decision":"yes"}')
    assert bench.words(binding.decide_call(bench.keys, [decision])) == [["OK", "completed"]]


def test_what_is_not_matched_and_other_rules_go_on(bench: Bench) -> None:
    instruct(
        bench,
        rule("published", HUMAN, review=spec(), queue="b"),
        rule("published", HUMAN, review=spec(), queue="c"),
    )
    (id,) = bench.publish("a")
    assert bench.record(id).state == State.pending
    (other,) = bench.publish("c")
    assert shown(bench, other) == spec()


@pytest.mark.parametrize(
    ("header", "title", "content"),
    [
        ({"type": "order", "labels": {"who": "Ada"}}, "Ada orders order", ["Ada", {"who": "Ada"}]),
        ({"type": 'a"b\\/é'}, '- orders a"b\\/é', ["-", {"who": "-"}]),
        ({"type": "t", "labels": {"who": ""}}, "- orders t", ["-", {"who": "-"}]),
        ({"type": "t", "labels": {"who": "{{a}}\n"}}, "{{a}}  orders t", ["{{a}} ", {"who": "{{a}} "}]),
        ({"type": "é" * 200, "labels": {"who": 7}}, "- orders " + "é" * 128, ["-", {"who": "-"}]),
        ({"type": "x" + "é" * 200}, "- orders x" + "é" * 127, ["-", {"who": "-"}]),
    ],
)  # fmt: skip
def test_texts_of_the_message_stand_in_it(bench: Bench, header: Any, title: str, content: Any) -> None:
    asked = spec(text="{{labels.who}} orders {{type}}", content=["{{labels.who}}", {"who": "{{labels.who}}"}])
    instruct(bench, rule("published", HUMAN, review=asked))
    (id,) = bench.publish("a", header=json.dumps(header, ensure_ascii=False))
    assert shown(bench, id)["sections"][0] == {"type": "context", "title": title, "content": content}


def test_the_rest_of_the_spec_is_kept_as_it_is(bench: Bench) -> None:
    odd = {"empty": {}, "none": [], "big": 12345678901234567890, "half": 0.5, "null": None, "deep": [[{}]]}
    transform = {"transform": {"labels": {"seen": "x"}, "type": "{{type}}"}}
    asked = spec(text="{{labels.seen}}", content=odd)
    instruct(
        bench,
        rule("published", {**ELSEWHERE, **transform}, review=asked, queue="a"),
        rule("published", transform, queue="b"),
    )
    (id,) = bench.publish("a")
    assert shown(bench, id)["sections"][0] == {"type": "context", "title": "x", "content": odd}


@pytest.mark.parametrize("trigger", ["published", "failed"])
def test_nobody_decides_in_time(bench: Bench, trigger: str) -> None:
    bench.queue("a", max_retries=9)
    for on_timeout, state in (
        ("expire", State.expired),
        ("requeue", State.pending),
        ("auto:no", State.completed),
    ):
        instruct(bench, asks(trigger, on_timeout=on_timeout))
        bench.now += MINUTE
        id = end(bench, trigger)
        bench.now += MINUTE - 1
        bench.sweep()
        assert bench.record(id).state == State.awaiting_review
        bench.now += 1
        bench.sweep()
        assert bench.record(id).state == state
        if state == State.pending:
            assert bench.claim("a")[1] == [id]
            binding_call = binding.complete_call(bench.keys, [binding.CompleteItem(**bench.held([id])[0])])
            assert bench.words(binding_call)[0][0] == "OK"


def test_escalated_it_waits_as_long_again(bench: Bench) -> None:
    instruct(bench, asks("failed", on_timeout="escalate"))
    (id,) = bench.publish("a")
    assert bench.claim("a")[1] == [id]
    bench.now += 10_000
    (held,) = bench.held([id])
    bench.words(binding.fail_call(bench.keys, [binding.FailItem(**held, reason="r")]))
    bench.now += MINUTE
    bench.sweep()
    record = bench.record(id)
    assert (record.state, record.due_at) == (State.awaiting_review, bench.now + MINUTE)
    assert record.rank >= 4000
    bench.now += MINUTE
    bench.sweep()
    assert bench.record(id).state == State.expired


def test_a_review_without_end_ends_in_the_dead_letter(bench: Bench) -> None:
    instruct(bench, asks("expired", on_timeout="escalate"), hops=3)
    id = end(bench, "expired")
    for _ in range(3):
        for _ in range(2):
            assert bench.record(id).state == State.awaiting_review
            bench.now += MINUTE
            bench.sweep()
    record = bench.record(id)
    assert (record.state, record.queue) == (State.pending, "_dead_letter")
    assert record.origin[1] == "ROUTING_LOOP"


def test_a_repeated_fail_hears_where_it_went(bench: Bench) -> None:
    instruct(bench, asks("failed"))
    (id,) = bench.publish("a")
    bench.claim("a")
    call = binding.fail_call(bench.keys, [binding.FailItem(**bench.held([id])[0], reason="r")])
    first = bench.words(call)
    assert first == [["OK", "awaiting_review", bench.now + MINUTE, "a"]]
    assert bench.words(call) == first


def test_it_needs_no_room_but_an_open_queue(bench: Bench) -> None:
    bench.queue("a", max_depth=2)
    bench.queue("b", max_depth=1)
    bench.publish("b")
    instruct(bench, asks("published", ELSEWHERE))
    sent = bench.publish("a", 3)
    assert bench.members("b", "review") == sent
    instruct(bench, asks("published", HUMAN))
    waiting = bench.publish("a", 3)
    assert bench.members("a", "review") == waiting
    bench.queue("b", state="paused")
    instruct(bench, asks("published", ELSEWHERE))
    (id,) = bench.publish("a")
    assert bench.record(id).queue == "_dead_letter"


def test_a_published_review_may_be_asked_otherwise_or_moved(bench: Bench) -> None:
    instruct(
        bench,
        rule("published", {"route": {"queue": "b"}}, queue="a"),
        rule("published", HUMAN, review=spec(), queue="c"),
    )
    (moved,) = bench.publish("a", review_ms=5)
    (other,) = bench.publish("c", review_ms=5)
    (kept,) = bench.publish("b", review_ms=5)
    assert bench.members("b", "review") == sorted([moved, kept])
    assert {bench.record(id).due_at for id in (moved, kept)} == {bench.now + 5}
    assert bench.record(other).due_at == bench.now + MINUTE


def test_a_copy_is_asked_about_and_its_parent_goes_on(bench: Bench) -> None:
    instruct(
        bench,
        rule("completed", {"route": {"queue": "b", "mode": "copy"}}, name="copy"),
        rule("published", HUMAN, queue="b", name="human", review=spec(text="{{labels.tier}}")),
    )
    id = end(bench, "completed")
    (child,) = bench.members("b", "review")
    assert bench.record(id).state == State.completed
    assert shown(bench, child)["sections"][0]["title"] == "premium"
    assert [name for name, _, _ in events(bench, child)] == ["published", "escalated"]


def test_the_dry_run_says_so(bench: Bench) -> None:
    instruct(bench, asks("failed", ELSEWHERE))
    envelope = encode_header(read_header(b'{"type":"t"}')) + b"\n"
    item = binding.EvaluateItem(bench.new_id(), envelope, b"", 2500, 1)
    call = binding.evaluate_call(bench.keys, bench.keys.queue("a"), "failed", [item])
    (reply,) = bench.run(call).items
    assert (reply[1], reply[2], reply[10]) == (1, b"b", MINUTE)
    assert read_header(b"{}", reply[7]).hitl_spec == spec()


def test_a_claim_that_finds_it_expired_gets_the_next(bench: Bench) -> None:
    instruct(bench, asks("expired"))
    (late,) = bench.publish("a", ttl_ms=10)
    (next_one,) = bench.publish("a")
    bench.now += 20
    assert bench.claim("a", want=5)[1] == [next_one]
    assert bench.members("a", "review") == [late]
    assert bench.record(late).expires_at == 0


def test_a_lease_that_is_lost_for_the_last_time(bench: Bench) -> None:
    instruct(bench, asks("dead_lettered", ELSEWHERE, "requeue"))
    (id,) = bench.publish("a", max_retries=1)
    bench.claim("a", visibility_ms=10)
    token = bench.token(id)
    bench.now += 20
    assert bench.claim("a")[1] == []
    assert bench.members("b", "review") == [id]
    late = binding.CompleteItem(id, token, "anna")
    assert bench.words(binding.complete_call(bench.keys, [late]))[0][0] == "CLAIM_LOST"
    bench.now += MINUTE
    assert bench.claim("b")[1] == [id]
    assert bench.record(id).attempts == 1
