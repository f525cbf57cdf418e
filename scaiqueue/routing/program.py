"""Compiles a scope's rules: of each trigger rows of tests with jumps, which the scripts follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import neg
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from scaiqueue.keys import OUTBOUND
from scaiqueue.review.spec import Spec
from scaiqueue.routing.actions import Route, Then
from scaiqueue.routing.conditions import OPERATORS, Group, Node, Not, Test, tests_of
from scaiqueue.routing.escalation import cut

TRIGGERS = {
    "message_published": "p",
    "message_failed": "f",
    "message_dead_lettered": "d",
    "message_completed": "c",
    "message_expired": "x",
}
_ROW = 5
_pack = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode


class CompiledRule(Struct, frozen=True):
    """A rule that is in force; `queue` "" is any. `review` is what it asks a human. The scripts read it when
    the rule matches, from `spec_at`: its first and last byte in the contents."""

    id: str
    name: str
    trigger: str
    queue: str
    when: Node
    then: Then
    review: Spec | None = None
    spec_at: tuple[int, int] | None = None


class Program(NamedTuple):
    """What the `instruct` script takes; an empty contents means that there are no rules."""

    contents: str
    content: bytes


def compile_rules(rules: Sequence[CompiledRule], max_hops: int, max_matches: int) -> Program:
    """`rules` in their order."""
    rules, parts = _with_specs(rules)
    index, start = [f"{max_hops} {max_matches}"], sum(map(len, parts))
    for trigger, letter in TRIGGERS.items():
        chosen = [rule for rule in rules if rule.trigger == trigger]
        if chosen:
            part = _pack(_RuleRows(chosen).program())
            index.append(f"{letter}:{start}:{start + len(part) - 1}")
            parts.append(part)
            start += len(part)
    return Program(" ".join(index), b"".join(parts)) if parts else Program("", b"")


class Filters(NamedTuple):
    """Conditions that are asked each by itself: `starts` holds the row at which each begins, 0 for one that
    always holds. A jump to -1 says that it does, one to 0 that it doesn't."""

    fields: list[list[str]]
    rows: list[Any]
    starts: list[int]


def compile_filters(conditions: Sequence[Node]) -> Filters:
    rows, starts = _Rows(), []
    for condition in conditions:
        always = isinstance(condition, Group) and not condition.parts
        starts.append(0 if always else rows.here())
        if not always:
            rows.emit(condition, lambda: -1, lambda: 0)
    return Filters(rows.fields(), rows.flat(), starts)


def _with_specs(rules: Sequence[CompiledRule]) -> tuple[list[CompiledRule], list[bytes]]:
    """The rules with the places of what they ask humans, and that in a row: pieces of JSON and fields."""
    placed, specs, start = [], [], 0
    for rule in rules:
        if rule.review is not None:
            pieces: list[Any] = list(cut(rule.review))
            pieces[1::2] = map(_spec, pieces[1::2])
            specs.append(_pack(pieces))
            rule = replace(rule, spec_at=(start, start + len(specs[-1]) - 1))
            start += len(specs[-1])
        placed.append(rule)
    return placed, specs


def body_paths(rules: Sequence[CompiledRule]) -> tuple[str, ...]:
    """Paths into bodies that the rules for published messages ask for."""
    fields = {
        test.field for rule in rules if rule.trigger == "message_published" for test in tests_of(rule.when)
    }
    return tuple(sorted(field.removeprefix("body.") for field in fields if field.startswith("body.")))


class _Rows:
    """Tests under construction. A jump is a function until all places are known."""

    def __init__(self) -> None:
        self._fields: dict[str, int] = {}
        self._rows: list[tuple[int, int, Any, Callable[[], int], Callable[[], int]]] = []

    def fields(self) -> list[list[str]]:
        return [_spec(field) for field in self._fields]

    def flat(self) -> list[Any]:
        flat: list[Any] = []
        for field, op, value, yes, no in self._rows:
            flat += (field, op, value, yes(), no())
        return flat

    def here(self) -> int:
        return _ROW * len(self._rows) + 1

    def emit(self, node: Node, yes: Callable[[], int], no: Callable[[], int]) -> None:
        if isinstance(node, Test):
            field = self._fields.setdefault(node.field, len(self._fields) + 1)
            self._rows.append((field, OPERATORS.index(node.op) + 1, node.value, yes, no))
        elif isinstance(node, Not):
            self.emit(node.part, no, yes)
        elif not node.parts:
            self.emit(Test("", "queue", "exists", True), yes, no)
        else:
            for part in node.parts[:-1]:
                place: list[int] = []
                go_on = lambda place=place: place[0]  # noqa: E731
                if node.kind == "all":
                    self.emit(part, go_on, no)
                else:
                    self.emit(part, yes, go_on)
                place.append(self.here())
            self.emit(node.parts[-1], yes, no)


class _RuleRows:
    """The rules of one trigger: of the first that matches."""

    def __init__(self, rules: Sequence[CompiledRule]) -> None:
        self._rules = rules
        self._rows = _Rows()
        self._starts: list[int] = []

    def program(self) -> dict[str, Any]:
        for number, rule in enumerate(self._rules, 1):
            self._starts.append(self._rows.here())
            parts: tuple[Node, ...] = (rule.when,)
            if rule.queue:
                parts = (Test("queue", "queue", "eq", rule.queue), rule.when)
            self._rows.emit(Group("", "all", parts), partial(neg, number), self._after(number))
        flat = self._rows.flat()
        places, end = [], 0
        actions = [_json(_action(rule)) for rule in self._rules]
        for number, action in enumerate(actions, 1):
            places += [self._after(number)(), end + 1, end + len(action)]
            end += len(action)
        return {
            "fields": self._rows.fields(),
            "rows": flat,
            "rules": b"".join(actions).decode(),
            "places": places,
        }

    def _after(self, number: int) -> Callable[[], int]:
        """Where the next rule begins; 0 after the last."""
        return lambda: self._starts[number] if number < len(self._starts) else 0


def _spec(field: str) -> list[str]:
    """How the scripts find a field: its kind, and names."""
    kinds = {"queue": "q", "priority.tier": "t", "priority.score": "s", "attempts": "a", "size": "z"}
    if field in kinds:
        return [kinds[field]]
    first, _, rest = field.partition(".")
    if first == "body":
        return ["b", rest, *rest.split(".")]
    return ["h", first, rest] if rest else ["h", first]


def _action(rule: CompiledRule) -> dict[str, Any]:
    then = rule.then
    action: dict[str, Any] = {"id": rule.id, "name": rule.name}
    if then.route is not None:
        action["route"] = _route(then.route)
    if (transform := then.transform) is not None:
        action["transform"] = _given(
            labels=transform.labels,
            type=transform.type,
            priority=transform.priority,
            rank=None if transform.priority is None else transform.priority.rank,
            delay_ms=None if transform.delay_s is None else round(transform.delay_s * 1000),
            ttl_ms=None if transform.ttl_seconds is None else max(1, round(transform.ttl_seconds * 1000)),
        )
    if (escalate := then.escalate) is not None:
        action["escalate"] = _given(
            queue=escalate.queue,
            priority=escalate.priority,
            rank=None if escalate.priority is None else escalate.priority.rank,
            review_ms=None if rule.review is None else rule.review.timeout_ms,
            spec=rule.spec_at,
        )
    if then.archive:
        action["archive"] = True
    return action


def _route(route: Route) -> dict[str, Any]:
    if route.scope is None:
        return {"queue": route.queue, "mode": route.mode}
    return {"queue": OUTBOUND, "mode": route.mode, "to": f"{route.scope}/{route.queue}"}


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
