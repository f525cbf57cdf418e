"""The scripts' evaluator against an independent one, over generated rules and messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaiqueue.routing.conditions import OPERATORS, Reader
from scaiqueue.routing.values import body_values
from scaiqueue.scripts import binding
from tests.routing.evaluator import TIERS, first_match
from tests.routing.rules import instruct, rule
from tests.scripts.bench import Bench, new_id
from tests.scripts.shard import load_scripts
from tests.servers import RedisServer

TEXTS = st.sampled_from(["", "x", "xy", "1", "premium", "é", 'a"b\\', "0"])
NUMBERS = st.one_of(
    st.integers(-3, 3), st.sampled_from([0.5, 1e300, -0.0, 2**53, 2**53 + 1, 500, 2500, 1000, 10**20])
)
SCALARS = st.one_of(TEXTS, NUMBERS, st.booleans())
PATHS = ("n", "t.a", "t.b.0", "0", "t", "list", "list.1")
TEXT_FIELDS = ("type", "labels.k", "labels.a.b", "source.type", "source.id", "correlation_id")
NUMBER_FIELDS = ("priority.score", "attempts", "size")
BODIES = st.recursive(
    st.one_of(st.none(), SCALARS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["n", "t", "a", "b", "0", "1", "list"]), inner, max_size=4),
    ),
    max_leaves=8,
)


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    """A test that the reader takes."""
    kind = draw(st.sampled_from(["text", "number", "tier", "body"]))
    if kind == "text":
        field, value = draw(st.sampled_from(TEXT_FIELDS)), TEXTS
        op = draw(st.sampled_from(["eq", "ne", "in", "exists", "prefix", "contains"]))
    elif kind == "body":
        field, value = "body." + draw(st.sampled_from(PATHS)), SCALARS
        op = draw(st.sampled_from(OPERATORS))
    else:
        op = draw(st.sampled_from(["eq", "ne", "in", "gt", "gte", "lt", "lte"]))
        field = "priority.tier" if kind == "tier" else draw(st.sampled_from(NUMBER_FIELDS))
        value = st.sampled_from(TIERS) if kind == "tier" else NUMBERS
    if op == "exists":
        value = st.booleans()
    elif op == "prefix":
        value = TEXTS.filter(bool)
    elif op in ("gt", "gte", "lt", "lte") and kind == "body":
        value = NUMBERS
    wanted = draw(st.lists(value, min_size=1, max_size=3)) if op == "in" else draw(value)
    return {"field": field, "op": op, "value": wanted}


TREES = st.recursive(
    conditions(),
    lambda inner: st.one_of(
        st.builds(lambda parts: {"all": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"any": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"not": part}, inner),
    ),
    max_leaves=6,
)
RULES = st.lists(
    st.fixed_dictionaries(
        {"queue": st.sampled_from([None, None, "a", "b"]), "when": st.one_of(st.none(), TREES, TREES, TREES)}
    ),
    min_size=1,
    max_size=5,
)
HEADERS = st.fixed_dictionaries(
    {"type": TEXTS},
    optional={
        "labels": st.dictionaries(st.sampled_from(["k", "a.b", "other"]), TEXTS, max_size=3),
        "source": st.fixed_dictionaries({"type": TEXTS, "id": TEXTS}),
        "correlation_id": TEXTS,
    },
)


@pytest.fixture(scope="module")
def ready(redis_server: RedisServer) -> Iterator[Bench]:
    with redis_server.client() as client:
        client.flushall()
        load_scripts(client)
        bench = Bench(client)
        for slug in ("a", "b", "c"):
            bench.queue(slug)
        yield bench


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rules=RULES, header=HEADERS, body=BODIES, rank=st.integers(0, 5000), attempts=st.integers(0, 3),
    passed=st.booleans(),
)  # fmt: skip
def test_both_choose_the_same_rule(
    ready: Bench,
    rules: list[dict[str, Any]],
    header: dict[str, Any],
    body: Any,
    rank: int,
    attempts: int,
    passed: bool,
) -> None:
    made = [
        rule("failed", {"route": {"queue": "c"}}, each["when"], each["queue"] or "", f"r{i}")
        for i, each in enumerate(rules)
    ]
    instruct(ready, *made, matches=10**9)
    raw = json.dumps(body, ensure_ascii=False).encode()
    envelope = json.dumps(header, ensure_ascii=False).encode() + b"\n" + raw
    values = body_values(raw, PATHS) if passed else ""
    item = binding.EvaluateItem(new_id(), envelope, b"", rank, attempts, values or "")
    call = binding.evaluate_call(ready.keys, ready.keys.queue("a"), "failed", [item])
    (reply,) = ready.run(call).items
    message = {"queue": "a", "header": header, "body": body, "rank": rank, "attempts": attempts}
    expected = first_match(rules, {**message, "size": len(raw)})
    assert (reply[1], [step[3].decode() for step in reply[8]]) == (
        (0, []) if expected is None else (1, [made[expected].id])
    )


@given(TREES)
def test_what_is_generated_is_read(tree: dict[str, Any]) -> None:
    reader = Reader()
    reader.read(tree)
    assert not reader.wrong
