"""Cases of instruct and evaluate, and of what rules do in other scripts."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from scaiqueue.review.spec import Spec
from scaiqueue.routing.actions import Then
from scaiqueue.routing.conditions import ALWAYS, Node, Test
from scaiqueue.routing.program import CompiledRule, compile_rules
from scaiqueue.scripts import binding
from scaiqueue.scripts.runner import Call
from tests.scripts.conformance_recorder import Recorder, story

Told = tuple[Call, list[list[Any]]]
RULE = "01900000-0000-7000-8000-0000000000aa"
PREMIUM = Test("when", "labels.tier", "eq", "premium")
MOVE: dict[str, Any] = {"route": {"queue": "other"}}
COPY: dict[str, Any] = {"route": {"queue": "other", "mode": "copy"}}

ASKED: dict[str, Any] = {
    "sections": [
        {"type": "context", "title": "{{type}}", "content": 1},
        {"type": "decision", "field": "d", "options": ["yes", "no"]},
    ],
    "timeout_s": 60.0,
}
ASK = CompiledRule(
    RULE,
    "vip",
    "message_failed",
    "",
    ALWAYS,
    msgspec.convert({"escalate": {"hitl_pattern": {"name": "p"}}}, Then),
    msgspec.convert(ASKED, Spec),
)


def _rule(trigger: str, then: dict[str, Any], when: Node = ALWAYS, queue: str = "") -> CompiledRule:
    return CompiledRule(RULE, "vip", f"message_{trigger}", queue, when, msgspec.convert(then, Then))


def _instruct(b: Recorder, *rules: CompiledRule, hops: int = 10, version: int = 7) -> Call:
    program = compile_rules(rules, hops, 100_000)
    return binding.instruct_call(b.keys, version, program.contents, program.content, [])


def _endless(b: Recorder, trigger: str) -> None:
    """More copies of each message than a call may write."""
    b.queue("other")
    back = {"route": {"queue": "jobs", "mode": "copy"}}
    rules = [_rule(trigger, COPY, queue="jobs")] if trigger != "published" else []
    rules += [_rule("published", COPY, queue="jobs"), _rule("published", back, queue="other")]
    b.run(_instruct(b, *rules, hops=1001))


@story("instruct", "rules, and newer ones")
def _(b: Recorder) -> Told:
    b.run(_instruct(b, _rule("published", MOVE)))
    return _instruct(b, _rule("published", MOVE, PREMIUM, "jobs"), version=8), [["OK"]]


@story("instruct", "no rules any more, and a breaker that closes")
def _(b: Recorder) -> Told:
    b.run(_instruct(b, _rule("published", MOVE)))
    b.command("HSET", b.keys.key("breakers"), RULE, "open 1800000000000 0")
    return binding.instruct_call(b.keys, 8, "", b"", [binding.InstructItem(RULE)]), [["OK"]]


@story("instruct", "older ones")
def _(b: Recorder) -> Told:
    b.run(_instruct(b, _rule("published", MOVE)))
    return _instruct(b, version=6), [["CONFLICT", 7]]


@story("evaluate", "one that matches, one that does not")
def _(b: Recorder) -> Told:
    b.queue("other")
    b.run(_instruct(b, _rule("published", MOVE, PREMIUM)))
    envelopes = ['{"labels":{"tier":"premium"}}\n1', "{}\n1"]
    items = [binding.EvaluateItem(b.new_id(), envelope, "", 2500, 0) for envelope in envelopes]
    step = ["routed", "other", "vip", RULE]
    routed = ["OK", 1, "other", "", 2500, 0, 0, '{"hops":1}', [step], [], 0]
    call = binding.evaluate_call(b.keys, b.keys.queue("jobs"), "published", items)
    return call, [routed, ["OK", 0, "", "", 2500, 0, 0, "", [], [], 0]]


@story("evaluate", "one that is put before a human")
def _(b: Recorder) -> Told:
    b.run(_instruct(b, ASK))
    item = binding.EvaluateItem(b.new_id(), '{"type":"order"}\n1', "", 2500, 1)
    overlay = {"hitl_spec": json.dumps(ASKED, separators=(",", ":")), "hops": 1, "review_ms": 60000}
    overlay["hitl_spec"] = str(overlay["hitl_spec"]).replace("{{type}}", "order")
    step = ["escalated", "jobs", "vip: review", RULE]
    text = json.dumps(overlay, separators=(",", ":"))
    call = binding.evaluate_call(b.keys, b.keys.queue("jobs"), "failed", [item])
    return call, [["OK", 1, "", "", 2500, 0, 0, text, [step], [], 60000]]


@story("publish", "a rule moves it")
def _(b: Recorder) -> Told:
    b.queue("other")
    b.run(_instruct(b, _rule("published", MOVE)))
    return b.publish_call("jobs"), [["OK", "pending", "routed"]]


@story("publish", "a rule copies it")
def _(b: Recorder) -> Told:
    b.queue("other")
    b.run(_instruct(b, _rule("published", COPY)))
    return b.publish_call("jobs"), [["OK", "pending", "routed"]]


@story("publish", "more copies than a call may write")
def _(b: Recorder) -> Told:
    _endless(b, "published")
    return b.publish_call("jobs"), [["SPLIT"]]


@story("complete", "a rule copies it")
def _(b: Recorder) -> Told:
    b.queue("other")
    b.run(_instruct(b, _rule("completed", COPY)))
    items = [binding.CompleteItem(**each) for each in b.held([b.claimed()])]
    return binding.complete_call(b.keys, items), ["OK completed 0 jobs"]


@story("complete", "more copies than a call may write")
def _(b: Recorder) -> Told:
    held = b.held([b.claimed()])
    _endless(b, "completed")
    return binding.complete_call(b.keys, [binding.CompleteItem(**each) for each in held]), [["SPLIT"]]


@story("fail", "a rule moves it")
def _(b: Recorder) -> Told:
    b.queue("other")
    b.run(_instruct(b, _rule("failed", MOVE)))
    items = [binding.FailItem(**each, reason="broken") for each in b.held([b.claimed()])]
    return binding.fail_call(b.keys, items), [["OK", "pending", 0, "other"]]


@story("fail", "a rule puts it before a human")
def _(b: Recorder) -> Told:
    b.run(_instruct(b, ASK))
    items = [binding.FailItem(**each, reason="broken") for each in b.held([b.claimed()])]
    return binding.fail_call(b.keys, items), [["OK", "awaiting_review", b.now + 60000, "jobs"]]


@story("fail", "more copies than a call may write")
def _(b: Recorder) -> Told:
    held = b.held([b.claimed()])
    _endless(b, "failed")
    return binding.fail_call(b.keys, [binding.FailItem(**each) for each in held]), [["SPLIT"]]


@story("sweep", "a rule moves what expires")
def _(b: Recorder) -> Told:
    b.queue("other")
    b.run(_instruct(b, _rule("expired", MOVE)))
    b.publish("jobs", ttl_ms=5)
    b.now += 10
    root = b.keys.queue("jobs").root
    return binding.sweep_call(b.keys.shard, 1000), [["OK", root, 1, 0, 0, 1, 0]]
