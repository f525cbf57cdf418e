"""Schemas compiled, and the fields that they name, without a server."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scaiqueue.schemas.compiled import MAX_DETAILS, MAX_MESSAGE, CompiledSchema, SchemaError

ORDER: dict[str, Any] = {
    "type": "object",
    "required": ["id", "items"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "pattern": "^ord_"},
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}},
        "at": {"format": "date-time"},
    },
    "$defs": {"item": {"required": ["sku"], "properties": {"sku": {"type": "string"}, "n": {"minimum": 1}}}},
}


def _doubling(word: str, times: int) -> dict[str, Any]:
    """Each part refers to the next one twice."""
    parts = {f"p{n}": {word: [{"$ref": f"#/$defs/p{n + 1}"}] * 2} for n in range(times)}
    return {"$ref": "#/$defs/p0", "$defs": {**parts, f"p{times}": {"type": "integer"}}}


def test_parts_that_refer_to_each_other_a_few_times() -> None:
    assert CompiledSchema(_doubling("allOf", 8)).faults(b"1") == []
    assert (
        CompiledSchema({"properties": {"a": {"$ref": "#"}}, "type": "object"}).faults(b'{"a":{"a":{}}}') == []
    )
    assert CompiledSchema({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}).faults(b"1") == []


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"id": "ord_1", "items": [{"sku": "a", "n": 1}], "at": "2026-01-31T12:00:00Z"}, []),
        ({}, ["body.id", "body.items"]),
        (1, ["body"]),
        ({"id": "x", "items": []}, ["body.id"]),
        ({"id": "ord_1", "items": [{"sku": "a"}, {"n": 0}]}, ["body.items[1].n", "body.items[1].sku"]),
        ({"id": "ord_1", "items": [], "b": 1, "a": 2}, ["body.a", "body.b"]),
        ({"id": "ord_1", "items": [], "at": "soon"}, ["body.at"]),
    ],
)
def test_each_field_that_does_not_fit_is_named(body: Any, fields: list[str]) -> None:
    wrong = CompiledSchema(ORDER).faults(msgspec.json.encode(body))
    assert sorted(detail.field for detail in wrong) == fields
    assert all(detail.message for detail in wrong)


@pytest.mark.parametrize("depth", [300, 1000, 100_000])
def test_a_body_that_is_no_json_or_too_deep(depth: int) -> None:
    schema = CompiledSchema({"type": "string"})
    for body in (b"{", b"", b"1e400", b'"\\ud800"', b"[" * depth + b"]" * depth):
        assert [detail.field for detail in schema.faults(body)] == ["body"]


def test_no_more_than_a_bounded_number_of_details() -> None:
    body = msgspec.json.encode(["x"] * 1000)
    assert len(CompiledSchema({"items": {"type": "integer"}}).faults(body)) == MAX_DETAILS


def test_a_message_quotes_no_more_than_a_part_of_the_value() -> None:
    (fault,) = CompiledSchema({"maxLength": 1}).faults(msgspec.json.encode("x" * 10_000))
    assert len(fault.message) == MAX_MESSAGE


@pytest.mark.parametrize("number", ["12345678901234567890123", "-0", "3.0", "1e300"])
def test_numbers_of_any_size_are_numbers(number: str) -> None:
    assert CompiledSchema({"type": "number"}).faults(number.encode()) == []


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"type": "objekt"}, "type"),
        ({"properties": {"a": {"minLength": "x"}}}, "properties.a.minLength"),
        ({"pattern": "("}, "pattern"),
        ({"pattern": "(?=a)b"}, "pattern"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "$schema"),
        ({"$schema": 5}, "$schema"),
        (_doubling("allOf", 40), ""),
        (_doubling("anyOf", 40), ""),
        ({"$defs": {f"p{n}": {"$ref": f"#/$defs/p{n + 1}"} for n in range(2000)}, "$ref": "#/$defs/p0"}, ""),
        ({"items": _doubling("oneOf", 40)} | {"$defs": _doubling("oneOf", 40)["$defs"]}, ""),
        ({"$ref": "#/$defs/none"}, ""),
        ({"$ref": "http://127.0.0.1:9/x"}, ""),
        ({"$ref": "file:///etc/hostname"}, ""),
    ],
)
def test_what_is_no_schema_is_refused(document: dict[str, Any], field: str) -> None:
    with pytest.raises(SchemaError) as refused:
        CompiledSchema(document)
    assert refused.value.field == field


def test_a_pattern_takes_linear_time() -> None:
    """Going back and trying again would take longer than the universe has."""
    schema = CompiledSchema({"pattern": "^(a+)+$"})
    assert [d.field for d in schema.faults(msgspec.json.encode("a" * 50_000 + "b"))] == ["body"]
