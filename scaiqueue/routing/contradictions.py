"""Finds what can never match: tests that must hold together and can't."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from scaiqueue.errors import Detail
from scaiqueue.routing.conditions import NUMBER_RANGES, TIER_RANGE, Group, Node, Not, Scalar, Test


def contradictions(node: Node, trigger: str) -> Iterator[Detail]:
    """One detail for each group of tests, or single test, that no message can pass."""
    if isinstance(node, Not):
        yield from contradictions(node.part, trigger)
        return
    together = _together(node) if isinstance(node, Test) or node.kind == "all" else []
    for field in dict.fromkeys(test.field for test in together):
        tests = [test for test in together if test.field == field]
        if not _possible(field, tests, trigger):
            at = tests[0].path if len(tests) == 1 else node.path
            what = " and ".join(f"{test.op} {_shown(test.value)}" for test in tests)
            yield Detail(at, f"Can never match: {field} {what}")
    for part in () if isinstance(node, Test) else _others(node):
        yield from contradictions(part, trigger)


def _together(node: Node) -> list[Test]:
    """Tests that must all hold: those of an all, and of an all within it."""
    if isinstance(node, Test):
        return [node]
    if isinstance(node, Group) and node.kind == "all":
        return [test for part in node.parts for test in _together(part)]
    return []


def _others(node: Group) -> Iterator[Node]:
    for part in node.parts:
        if isinstance(part, Group) and part.kind == node.kind == "all":
            yield from _others(part)
        elif node.kind == "any" or not isinstance(part, Test):
            yield part


def _shown(value: Scalar | tuple[Scalar, ...]) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _possible(field: str, tests: Sequence[Test], trigger: str) -> bool:
    if any(test.op == "exists" and test.value is False for test in tests):
        return all(test.op == "ne" or (test.op == "exists" and test.value is False) for test in tests)
    named = [test for test in tests if test.op in ("eq", "in")]
    low, high = _range(field, trigger)
    if named:
        values = named[0].value if isinstance(named[0].value, tuple) else (named[0].value,)
        return any(_holds(value, tests, low, high) for value in values)
    for test in tests:
        number = test.value if isinstance(test.value, float) else 0.0
        if test.op in ("gt", "gte"):
            low = max(low, number if test.op == "gte" else math.nextafter(number, math.inf))
        elif test.op in ("lt", "lte"):
            high = min(high, number if test.op == "lte" else math.nextafter(number, -math.inf))
    if field.startswith("body."):
        ordered = any(test.op in ("gt", "gte", "lt", "lte") for test in tests)
        if ordered and any(test.op in ("prefix", "contains") for test in tests):
            return False
    else:
        low, high = math.ceil(low) if low > -math.inf else low, math.floor(high) if high < math.inf else high
    prefixes = sorted((str(test.value) for test in tests if test.op == "prefix"), key=len)
    return low <= high and all(prefixes[-1].startswith(prefix) for prefix in prefixes)


def _range(field: str, trigger: str) -> tuple[float, float]:
    if field == "attempts" and trigger == "message_published":
        return 0, 0
    if field == "priority.tier":
        return TIER_RANGE
    return NUMBER_RANGES.get(field, (-math.inf, math.inf))


def _holds(value: Scalar, tests: Sequence[Test], low: float, high: float) -> bool:
    if isinstance(value, float) and not low <= value <= high:
        return False
    return all(_passes(value, test) for test in tests)


def _same(value: Scalar, other: object) -> bool:
    return type(value) is type(other) and value == other


def _passes(value: Scalar, test: Test) -> bool:
    other = test.value
    match test.op:
        case "eq":
            return _same(value, other)
        case "ne":
            return not _same(value, other)
        case "in":
            return isinstance(other, tuple) and any(_same(value, each) for each in other)
        case "exists":
            return True
        case "prefix":
            return isinstance(value, str) and value.startswith(str(other))
        case "contains":
            return isinstance(value, str) and isinstance(other, str) and other in value
    if not isinstance(value, float) or not isinstance(other, float):
        return False
    order = {"gt": value > other, "gte": value >= other, "lt": value < other, "lte": value <= other}
    return order[test.op]
