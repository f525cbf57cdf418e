"""Rules in force on a bench's scope."""

from __future__ import annotations

from itertools import count
from typing import Any

import msgspec

from scaiqueue.review.spec import Spec
from scaiqueue.routing.actions import Then
from scaiqueue.routing.conditions import Reader
from scaiqueue.routing.program import CompiledRule, compile_rules
from scaiqueue.scripts import binding
from tests.scripts.bench import Bench

_versions = count(1)


def rule(
    trigger: str,
    then: dict[str, Any],
    when: Any = None,
    queue: str = "",
    name: str = "r",
    review: dict[str, Any] | None = None,
) -> CompiledRule:
    """`trigger` without `message_`. The id is made of the name; `review` is the spec of an escalation."""
    reader = Reader()
    tree = reader.read_optional(when)
    assert not reader.wrong, reader.wrong
    rule_id = f"01900000-0000-7000-8000-{name.encode().hex():0>12}"
    spec = None if review is None else msgspec.convert(review, Spec)
    return CompiledRule(rule_id, name, f"message_{trigger}", queue, tree, msgspec.convert(then, Then), spec)


def instruct(bench: Bench, *rules: CompiledRule, hops: int = 10, matches: int = 1000) -> None:
    """Bring the rules into force, instead of those before."""
    program = compile_rules(rules, hops, matches)
    call = binding.instruct_call(bench.keys, next(_versions), program.contents, program.content, [])
    assert bench.words(call) == [["OK"]]


def clear_breaker(bench: Bench, *rules: CompiledRule, matches: int = 1000) -> None:
    program = compile_rules(rules, 10, matches)
    items = [binding.InstructItem(each.id) for each in rules]
    call = binding.instruct_call(bench.keys, next(_versions), program.contents, program.content, items)
    assert bench.words(call) == [["OK"]]


def overlay(bench: Bench, id: str) -> dict[str, Any]:
    packed = bench.client.hget(bench.keys.key("overlay"), id)
    found: dict[str, Any] = msgspec.json.decode(packed) if packed else {}
    return found


def events(bench: Bench, id: str) -> list[tuple[str, str, str]]:
    """Event, queue and detail of each of the message's transitions."""
    found = []
    for _, fields in bench.client.xrange(bench.keys.shard.journal):
        flat = msgspec.msgpack.decode(fields[b"ev"])
        for at in range(0, len(flat), 6):
            name, queue, _, _, detail, ids = flat[at : at + 6]
            if id in [ids[i : i + 36] for i in range(0, len(ids), 36)]:
                found.append((name, queue, detail))
    return found
