"""Specs, templates and decisions, without a server."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaiqueue.review.decision import decision_faults
from scaiqueue.review.spec import Spec, faults, stored_spec
from scaiqueue.review.template import expanded, filled_bytes, parameters_of

DECISION = {"type": "decision", "field": "verdict", "options": ["yes", {"id": "no", "requires_note": True}]}

CONTEXT = {"type": "context", "title": "t"}


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def spec_of(*sections: dict[str, Any], **rest: Any) -> Spec:
    return msgspec.convert({"sections": [*sections, DECISION], **rest}, Spec)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"sections": [{"type": "context", "title": "t", "content": 1}]}, "spec.sections"),
        ({"sections": [DECISION, {**DECISION, "field": "other"}]}, "spec.sections"),
        ({"sections": [DECISION, {"type": "input", "field": "verdict"}]}, "spec.sections[1].field"),
        ({"sections": [{**DECISION, "options": ["a", {"id": "a"}]}]}, "spec.sections[0].options"),
        (
            {"sections": [DECISION, {"type": "input", "field": "x", "kind": "select"}]},
            "spec.sections[1].options",
        ),
        (
            {"sections": [DECISION, {"type": "input", "field": "x", "options": ["a"]}]},
            "spec.sections[1].options",
        ),
        ({"sections": [DECISION, {**CONTEXT, "content": nested(101)}]}, "spec.sections[1].content"),
        ({"sections": [DECISION], "on_timeout": "auto:maybe"}, "spec.on_timeout"),
        ({"sections": [DECISION], "on_timeout": "auto:no"}, "spec.on_timeout"),
    ],
)
def test_what_makes_no_spec_is_named(values: dict[str, Any], field: str) -> None:
    assert [detail.field for detail in faults(msgspec.convert(values, Spec), "spec")] == [field]
    assert stored_spec(values) is None


@pytest.mark.parametrize("value", [None, 1, {}, {"sections": []}, {"sections": [DECISION], "x": 1}])
def test_a_header_may_hold_anything(value: Any) -> None:
    assert stored_spec(value) is None


KINDS: list[tuple[dict[str, Any], list[Any], list[Any]]] = [
    ({"kind": "text"}, ["a"], [1, True, ["a"], {}]),
    ({"kind": "textarea"}, ["a\nb"], [1]),
    ({"kind": "number"}, [0, 1.5, -3], ["1", True]),
    ({"kind": "boolean"}, [True, False], [0, "true"]),
    ({"kind": "select", "options": ["a", {"id": "b", "label": "B"}]}, ["a", "b"], ["B", 1, ["a"]]),
    (
        {"kind": "multiselect", "options": ["a", "b"]},
        [["a"], ["b", "a"]],
        ["a", ["a", "a"], ["c"], [1], [["a"]]],
    ),
    ({"kind": "date"}, ["2026-02-28"], ["2026-02-30", "20260228", "2026-02-28T00:00:00", 5]),
    ({"kind": "json"}, [{"a": [1]}, 0, False, nested(100)], [nested(101), {"a": nested(100)}]),
]


@pytest.mark.parametrize(("asked", "right", "wrong"), KINDS)
def test_each_kind_takes_its_values_alone(asked: dict[str, Any], right: list[Any], wrong: list[Any]) -> None:
    spec = spec_of({"type": "input", "field": "x", **asked})
    for value in right:
        assert decision_faults(spec, "yes", {"x": value}, None) == []
    for value in wrong:
        (fault,) = decision_faults(spec, "yes", {"x": value}, None)
        assert fault.field == "fields.x"


def test_required_unknown_option_and_note() -> None:
    spec = spec_of({"type": "input", "field": "x", "required": True})
    wrong = decision_faults(spec, "maybe", {"y": 1}, None)
    assert [detail.field for detail in wrong] == ["decision", "fields.x", "fields.y"]
    for empty in (None, "", []):
        assert [d.field for d in decision_faults(spec, "yes", {"x": empty}, None)] == ["fields.x"]
    assert [d.field for d in decision_faults(spec, "no", {"x": "a"}, " ")] == ["note"]
    assert decision_faults(spec, "no", {"x": "a"}, "because") == []


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda part: st.lists(part) | st.dictionaries(st.text(), part),
    max_leaves=8,
)


@given(value=plain)
def test_a_parameter_keeps_its_value_where_content_is_nothing_else(value: Any) -> None:
    template = {
        "sections": [{"title": "{{ x }}", "content": "{{x}}"}, {"content": {"deep": ["{{x}}", "a {{x}}"]}}]
    }
    assert parameters_of(template) == ["x"]
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    assert filled_bytes(template, {"x": value}) <= len(msgspec.json.encode(expanded(template, {"x": value})))
    assert expanded(template, {"x": value}) == {
        "sections": [{"title": text, "content": value}, {"content": {"deep": [value, f"a {text}"]}}]
    }


@given(spec=plain)
def test_what_has_no_placeholder_stays_as_it_is(spec: Any) -> None:
    if not parameters_of(spec):
        assert expanded(spec, {}) == spec


def test_what_was_filled_in_is_not_looked_at_again() -> None:
    assert expanded({"title": "{{a}} {{b}}"}, {"a": "{{b}}", "b": "x"}) == {"title": "{{b}} x"}
