"""Whether whatever a schema's previous version took, the next one takes too.

What can't be shown by the rules of docs/schemas.md counts as a problem: a false alarm costs a look, a missed
one breaks publishers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from scaiqueue.errors import Detail

# A larger value, or one where there was none, takes less; and the other way round.
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
# Compared by being the same: what they take together is beyond these rules.
_WHOLE = (
    "pattern", "format", "multipleOf", "contentEncoding", "contentMediaType", "$ref", "$dynamicRef", "anyOf",
    "oneOf", "allOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "propertyNames",
    "patternProperties",
)  # fmt: skip
# What these take depends on others beside them: where one stays and another changes, nothing can be said.
_DEPENDENT = {
    "contains": ("contains", "minContains", "maxContains"),
    "additionalProperties": ("patternProperties",),
    "unevaluatedProperties": (),
    "unevaluatedItems": (),
}
_TYPES = ("null", "boolean", "object", "array", "number", "string", "integer")


def narrowings(old: Any, new: Any) -> list[Detail]:
    """Where `new` takes less than `old`, each with its place in the schema."""
    return list(_compare(old, new, "schema"))


def _compare(old: Any, new: Any, place: str) -> Iterator[Detail]:
    if new is True or new == {} or old is False or _text(old) == _text(new):
        return
    if not isinstance(new, dict):
        yield Detail(place, "Nothing is allowed any more")
        return
    before: dict[str, Any] = old if isinstance(old, dict) else {}
    yield from _values(before, new, place)
    yield from _bounds(before, new, place)
    yield from _object(before, new, place)
    yield from _parts(before, new, place)
    for word in _WHOLE:
        if word in new and _changed(before, new, word):
            yield Detail(f"{place}.{word}", "Changed or new: bodies that were valid may no longer be")
    for word, others in _DEPENDENT.items():
        if new.get(word, True) is not True and any(_changed(before, new, other) for other in others or new):
            yield Detail(f"{place}.{word}", "What it depends on has changed")


def _text(value: Any) -> bytes:
    """Equal for equal JSON: in Python true is 1."""
    return msgspec.json.encode(value, order="sorted")


def _changed(old: dict[str, Any], new: dict[str, Any], word: str) -> bool:
    return (word in old) != (word in new) or _text(old.get(word)) != _text(new.get(word))


def _types(schema: dict[str, Any]) -> set[str]:
    named = schema.get("type", list(_TYPES))
    found = {named} if isinstance(named, str) else set(named)
    return found | {"integer"} if "number" in found else found


def _allowed(schema: dict[str, Any]) -> list[Any] | None:
    """The values that `enum` and `const` leave; None: they are not used."""
    if "const" in schema:
        return [schema["const"]]
    values: list[Any] | None = schema.get("enum")
    return values


def _values(old: dict[str, Any], new: dict[str, Any], place: str) -> Iterator[Detail]:
    if lost := sorted(_types(old) - _types(new)):
        yield Detail(f"{place}.type", f"No longer allowed: {', '.join(lost)}")
    before, after = _allowed(old), _allowed(new)
    if after is not None:
        word = "const" if "const" in new else "enum"
        if before is None:
            yield Detail(f"{place}.{word}", "New: other values were allowed")
        elif any(not any(_text(value) == _text(left) for left in after) for value in before):
            yield Detail(f"{place}.{word}", "Values are missing that were allowed")


def _bounds(old: dict[str, Any], new: dict[str, Any], place: str) -> Iterator[Detail]:
    for words, sign in ((_LOWER, 1), (_UPPER, -1)):
        for word in words:
            if word in new and (word not in old or (new[word] - old[word]) * sign > 0):
                yield Detail(f"{place}.{word}", "Narrower than before")
    if new.get("uniqueItems") and not old.get("uniqueItems"):
        yield Detail(f"{place}.uniqueItems", "New: equal items were allowed")


def _object(old: dict[str, Any], new: dict[str, Any], place: str) -> Iterator[Detail]:
    for name in new.get("required", ()):
        if name not in old.get("required", ()):
            yield Detail(f"{place}.required", f"Newly required: {name}")
    rest = new.get("additionalProperties", True)
    for name in sorted(set(old.get("properties", ())) - set(new.get("properties", ()))):
        yield from _compare(old["properties"][name], rest, f"{place}.properties.{name}")
    yield from _compare(old.get("additionalProperties", True), rest, f"{place}.additionalProperties")


def _parts(old: dict[str, Any], new: dict[str, Any], place: str) -> Iterator[Detail]:
    for word in ("properties", "$defs"):
        before, after = old.get(word, {}), new.get(word, {})
        for name in sorted(set(before) & set(after)):
            yield from _compare(before[name], after[name], f"{place}.{word}.{name}")
    left = old.get("additionalProperties", True)
    for name in sorted(set(new.get("properties", ())) - set(old.get("properties", ()))):
        # Under an open object anything could stand there; only a closed one tells what it took.
        if left not in (True, {}):
            yield from _compare(left, new["properties"][name], f"{place}.properties.{name}")
    before, after = old.get("prefixItems", []), new.get("prefixItems", [])
    for number in range(max(len(before), len(after))):
        one = before[number] if number < len(before) else old.get("items", True)
        other = after[number] if number < len(after) else new.get("items", True)
        yield from _compare(one, other, f"{place}.prefixItems[{number}]")
    yield from _compare(old.get("items", True), new.get("items", True), f"{place}.items")
