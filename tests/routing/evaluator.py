"""Rules as their documentation tells them, evaluated without a look at how the scripts do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TIERS = ("background", "low", "normal", "high", "critical")
MISSING = object()


def first_match(rules: Sequence[Mapping[str, Any]], message: Mapping[str, Any]) -> int | None:
    """Which rule wins, by its place."""
    for place, rule in enumerate(rules):
        if rule["queue"] in (None, message["queue"]) and holds(rule["when"], message):
            return place
    return None


def holds(tree: Mapping[str, Any] | None, message: Mapping[str, Any]) -> bool:
    if tree is None:
        return True
    if "all" in tree:
        return all(holds(part, message) for part in tree["all"])
    if "any" in tree:
        return any(holds(part, message) for part in tree["any"])
    if "not" in tree:
        return not holds(tree["not"], message)
    return passes(tree["op"], look_up(tree["field"], message), wanted(tree))


def wanted(test: Mapping[str, Any]) -> Any:
    value = test["value"]
    if test["field"] == "priority.tier":
        return [TIERS.index(each) for each in value] if isinstance(value, list) else TIERS.index(value)
    return value


def look_up(field: str, message: Mapping[str, Any]) -> Any:
    name, _, rest = field.partition(".")
    match name:
        case "labels":
            return message["header"].get("labels", {}).get(rest, MISSING)
        case "priority":
            tier = min(message["rank"] // 1000, 4)
            return tier if rest == "tier" else message["rank"] - 1000 * tier
        case "body":
            return path_value(message["body"], rest.split("."))
        case "size":
            return message["size"]
        case "attempts":
            return message["attempts"]
        case "source":
            return message["header"].get("source", {}).get(rest, MISSING)
    return message["header"].get(name, MISSING)


def path_value(value: Any, steps: Sequence[str]) -> Any:
    for step in steps:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return MISSING
    return MISSING if value is None else value


def same(left: Any, right: Any) -> bool:
    """Numbers as doubles; nothing else equals a value of another kind."""
    if is_number(left) and is_number(right):
        return float(left) == float(right)
    return type(left) is type(right) and not isinstance(left, list | dict) and bool(left == right)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def passes(op: str, found: Any, value: Any) -> bool:
    if op == "exists":
        return (found is not MISSING) == value
    if found is MISSING:
        return op == "ne"
    match op:
        case "eq":
            return same(found, value)
        case "ne":
            return not same(found, value)
        case "in":
            return any(same(found, each) for each in value)
        case "prefix":
            return isinstance(found, str) and found.startswith(value)
        case "contains" if isinstance(found, list):
            return any(same(each, value) for each in found)
        case "contains":
            return isinstance(found, str) and isinstance(value, str) and value in found
    if not is_number(found):
        return False
    left, right = float(found), float(value)
    return {"gt": left > right, "gte": left >= right, "lt": left < right, "lte": left <= right}[op]
