"""The `when` of a rule: a tree of all, any and not over tests; each wrong node has a detail."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from scaiqueue.errors import Detail
from scaiqueue.queueing.header import TIERS

MAX_TESTS, MAX_DEPTH, MAX_VALUES, MAX_TEXT = 50, 10, 100, 1024
OPERATORS = ("eq", "ne", "in", "gt", "gte", "lt", "lte", "exists", "prefix", "contains")
_ORDER = ("gt", "gte", "lt", "lte")
_TEXT_FIELDS = ("type", "source.type", "source.id", "correlation_id")
# Of the fields that are whole numbers, all that they can be.
NUMBER_RANGES = {"priority.score": (0, 1000), "attempts": (0, 65535), "size": (0, 16 * 2**20)}
TIER_RANGE = (0, len(TIERS) - 1)
_segment = re.compile(r"[A-Za-z0-9_-]{1,128}")

Kind = Literal["text", "number", "tier", "any"]
Scalar = str | float | bool


@dataclass(frozen=True)
class Test:
    """`value` as the scripts compare it: numbers as doubles, tiers by their number."""

    path: str
    field: str
    op: str
    value: Scalar | tuple[Scalar, ...]


@dataclass(frozen=True)
class Group:
    """`kind` is all or any."""

    path: str
    kind: str
    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Not:
    path: str
    part: Node


Node = Test | Group | Not
ALWAYS = Group("when", "all", ())


def kind_of(field: str) -> Kind | None:
    """What a field holds; None: there is no such field."""
    if field in _TEXT_FIELDS or (field.startswith("labels.") and 0 < len(field[7:]) <= 256):
        return "text"
    if field in NUMBER_RANGES:
        return "number"
    if field == "priority.tier":
        return "tier"
    if field.startswith("body.") and all(map(_segment.fullmatch, field[5:].split("."))):
        return "any"
    return None


class Reader:
    """Reads one tree; what is wrong with it gathers in `wrong`."""

    def __init__(self) -> None:
        self.wrong: list[Detail] = []
        self._tests = 0

    def read_optional(self, value: Any) -> Node:
        """What is left out always holds."""
        return ALWAYS if value is None else self.read(value)

    def read(self, value: Any, path: str = "when", depth: int = 1) -> Node:
        if depth > MAX_DEPTH:
            self._refuse(path, f"Nested more than {MAX_DEPTH} deep")
        elif not isinstance(value, dict):
            self._refuse(path, "Must be an object: all, any, not, or field, op and value")
        elif "field" in value or "op" in value:
            return self._test(value, path)
        elif len(value) != 1 or not value.keys() <= {"all", "any", "not"}:
            self._refuse(path, "Must have one of all, any, not, or field, op and value")
        elif "not" in value:
            return Not(path, self.read(value["not"], f"{path}.not", depth + 1))
        else:
            ((kind, parts),) = value.items()
            if not isinstance(parts, list) or not parts:
                self._refuse(f"{path}.{kind}", "Must be a list of conditions, not empty")
            else:
                read = [self.read(part, f"{path}.{kind}[{i}]", depth + 1) for i, part in enumerate(parts)]
                return Group(path, kind, tuple(read))
        return ALWAYS

    def _refuse(self, path: str, message: str) -> None:
        self.wrong.append(Detail(path, message))

    def _test(self, value: dict[str, Any], path: str) -> Node:
        self._tests += 1
        if self._tests == MAX_TESTS + 1:
            self._refuse(path, f"More than {MAX_TESTS} tests in one rule")
        for name in value.keys() - {"field", "op", "value"}:
            self._refuse(f"{path}.{name}", "Unknown field")
        field, op = value.get("field"), value.get("op")
        kind = kind_of(field) if isinstance(field, str) else None
        if kind is None:
            self._refuse(
                f"{path}.field",
                "Must be type, labels.<name>, priority.tier, priority.score, source.type, source.id, "
                "correlation_id, attempts, size or body.<path>",
            )
        if op not in OPERATORS:
            self._refuse(f"{path}.op", f"Must be one of {', '.join(OPERATORS)}")
        if kind is None or op not in OPERATORS:
            return ALWAYS
        assert isinstance(field, str)
        before = len(self.wrong)
        self._fits(kind, op, f"{path}.op")
        if len(self.wrong) > before:
            return ALWAYS
        found = self._value(kind, op, value.get("value", True if op == "exists" else None), f"{path}.value")
        return ALWAYS if found is None or len(self.wrong) > before else Test(path, field, op, found)

    def _fits(self, kind: Kind, op: str, path: str) -> None:
        if op in _ORDER and kind == "text":
            self._refuse(path, f"Can never match: the field is text, and {op} compares numbers")
        elif op in ("prefix", "contains") and kind in ("number", "tier"):
            self._refuse(path, f"Can never match: the field is a number, and {op} is for text")
        elif op == "exists" and kind in ("number", "tier"):
            self._refuse(path, "The field is always there")

    def _value(self, kind: Kind, op: str, value: Any, path: str) -> Scalar | tuple[Scalar, ...] | None:
        if op == "exists":
            if not isinstance(value, bool):
                self._refuse(path, "Must be true or false")
                return None
            return value
        if op == "in":
            if not isinstance(value, list) or not 1 <= len(value) <= MAX_VALUES:
                self._refuse(path, f"Must be a list of 1 to {MAX_VALUES} values")
                return None
            found = [self._scalar(kind, each, f"{path}[{i}]") for i, each in enumerate(value)]
            return tuple(each for each in found if each is not None)
        if op in _ORDER and kind == "any":
            kind = "number"
        if op == "prefix" and not (isinstance(value, str) and value):
            self._refuse(path, "Must be a text, not empty")
            return None
        return self._scalar(kind, value, path)

    def _scalar(self, kind: Kind, value: Any, path: str) -> Scalar | None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if kind == "tier":
            if value in TIERS:
                return float(TIERS.index(value))
            self._refuse(path, f"Must be one of {', '.join(TIERS)}")
        elif kind == "number" and not number:
            self._refuse(path, "Must be a number: the test can never match else")
        elif kind == "text" and not isinstance(value, str):
            self._refuse(path, "Must be a text: the test can never match else")
        elif isinstance(value, str) and len(value) > MAX_TEXT:
            self._refuse(path, f"At most {MAX_TEXT} characters")
        elif number:
            return float(value)
        elif isinstance(value, str | bool):
            return value
        else:
            self._refuse(path, "Must be a text, a number, true or false")
        return None


def tests_of(node: Node) -> list[Test]:
    if isinstance(node, Test):
        return [node]
    if isinstance(node, Not):
        return tests_of(node.part)
    return [test for part in node.parts for test in tests_of(part)]
