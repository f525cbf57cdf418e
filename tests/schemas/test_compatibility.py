"""The rules of compatibility, and that no schema is called compatible which takes less."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from scaiqueue.schemas.compatibility import narrowings

CLOSED = {"additionalProperties": False}


def _referring(part: Any) -> dict[str, Any]:
    return {"$defs": {"x": part}, "$ref": "#/$defs/x"}


@pytest.mark.parametrize(
    ("old", "new", "places"),
    [
        ({"required": ["a"]}, {"required": ["a", "b"]}, ["schema.required"]),
        ({}, {"type": "object"}, ["schema.type"]),
        ({"type": "number"}, {"type": "integer"}, ["schema.type"]),
        ({"enum": [1, 2]}, {"enum": [1]}, ["schema.enum"]),
        ({"enum": [1, 2]}, {"const": 1}, ["schema.const"]),
        ({"const": True}, {"const": 1}, ["schema.const"]),
        ({}, {"enum": [1]}, ["schema.enum"]),
        ({"minimum": 1}, {"minimum": 2}, ["schema.minimum"]),
        ({}, {"maxLength": 5}, ["schema.maxLength"]),
        ({}, {"uniqueItems": True}, ["schema.uniqueItems"]),
        ({"pattern": "a"}, {"pattern": "b"}, ["schema.pattern"]),
        ({"anyOf": [{}, {"type": "null"}]}, {"anyOf": [{"type": "null"}]}, ["schema.anyOf"]),
        ({"properties": {"a": {}}}, {"properties": {"a": {"maximum": 1}}}, ["schema.properties.a.maximum"]),
        ({"properties": {"a": {}}, **CLOSED}, CLOSED, ["schema.properties.a"]),
        ({}, CLOSED, ["schema.additionalProperties"]),
        ({"items": {}}, {"items": {"minimum": 1}}, ["schema.items.minimum"]),
        ({}, {"prefixItems": [{"minimum": 1}]}, ["schema.prefixItems[0].minimum"]),
        (_referring({}), _referring({"minimum": 1}), ["schema.$defs.x.minimum"]),
        ({"contains": {}, "minContains": 0}, {"contains": {}}, ["schema.contains"]),
    ],
)
def test_what_takes_less_is_named(old: dict[str, Any], new: dict[str, Any], places: list[str]) -> None:
    assert [detail.field for detail in narrowings(old, new)] == places


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"required": ["a", "b"]}, {"required": ["a"]}),
        ({"type": "integer"}, {"type": ["number", "null"]}),
        ({"enum": [1]}, {"enum": [2, 1]}),
        ({"const": 1}, {"enum": [2, 1]}),
        ({"enum": [1]}, {}),
        ({"minimum": 2, "maxLength": 1}, {"minimum": 1, "maxLength": 9}),
        (CLOSED, {"properties": {"a": {"type": "string"}}, **CLOSED}),
        ({"properties": {"a": {"type": "string"}}}, {"properties": {"a": {}, "b": {"type": "string"}}}),
        ({"title": "a"}, {"title": "b", "description": "c", "default": 1}),
    ],
)
def test_what_takes_as_much_or_more(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert narrowings(old, new) == []


values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from(["", "a", "bb"]),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.sampled_from("ab"), part, max_size=2),
    max_leaves=5,
)
types = st.sampled_from(["null", "boolean", "object", "array", "number", "string", "integer"])


def _schemas(part: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    words: dict[str, st.SearchStrategy[Any]] = {
        "type": types | st.lists(types, min_size=1, max_size=3, unique=True),
        "enum": st.lists(values, min_size=1, max_size=3),
        "const": values,
        "minimum": st.integers(-1, 2),
        "exclusiveMaximum": st.integers(-1, 3),
        "maxLength": st.integers(0, 2),
        "minItems": st.integers(0, 2),
        "uniqueItems": st.booleans(),
        "required": st.lists(st.sampled_from("ab"), max_size=2, unique=True),
        "properties": st.dictionaries(st.sampled_from("ab"), part, max_size=2),
        "patternProperties": st.dictionaries(st.sampled_from("ab"), part, max_size=1),
        "additionalProperties": part,
        "unevaluatedProperties": part,
        "items": part,
        "prefixItems": st.lists(part, min_size=1, max_size=2),
        "contains": part,
        "minContains": st.integers(0, 2),
        "anyOf": st.lists(part, min_size=1, max_size=2),
        "not": part,
        "if": part,
        "then": part,
    }
    return st.fixed_dictionaries({}, optional=words)


schemas = st.recursive(st.booleans() | st.just({}), _schemas, max_leaves=6)


@st.composite
def versions(draw: st.DrawFn) -> tuple[Any, Any]:
    """A schema, and one that differs from it in a few words."""
    old = draw(_schemas(schemas))
    other = draw(_schemas(schemas))
    words = sorted({*old, *other})
    changed = draw(st.lists(st.sampled_from(words), max_size=3)) if words else []
    new = {word: value for word, value in old.items() if word not in changed}
    return old, new | {word: other[word] for word in changed if word in other}


@settings(max_examples=200)
@given(pair=versions(), instances=st.lists(values, min_size=3, max_size=12))
def test_a_compatible_version_takes_what_the_one_before_took(
    pair: tuple[Any, Any], instances: list[Any]
) -> None:
    old, new = pair
    assume(not narrowings(old, new))
    assume(_named(new) <= _named(old))
    before, after = Draft202012Validator(old), Draft202012Validator(new)
    for value in instances:
        assert after.is_valid(value) or not before.is_valid(value), (old, new, value)


def _named(schema: Any, place: str = "") -> set[str]:
    """Where properties are named: a new one under an open object is let pass, as the page says."""
    if isinstance(schema, list):
        return {found for part in schema for found in _named(part, place)}
    if not isinstance(schema, dict):
        return set()
    named = {f"{place}.{name}" for name in schema.get("properties", {})}
    return named.union(*(_named(part, f"{place}/{word}") for word, part in schema.items()))
