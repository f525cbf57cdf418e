"""What rules ask of a message's body, taken out of it for the scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

# What the scripts take along with a message; where it is more they look into the body themselves.
MAX_VALUES = 16_384


def body_values(body: bytes, paths: Sequence[str]) -> str | None:
    """A JSON object of each path and its value, null where there is none; None: the scripts are to look."""
    try:
        content = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        content = None
    found = msgspec.json.encode({path: _plain(_descend(content, path.split("."))) for path in paths})
    return found.decode() if len(found) <= MAX_VALUES else None


def _descend(value: Any, segments: Sequence[str]) -> Any:
    for segment in segments:
        if isinstance(value, dict):
            value = value.get(segment)
        elif isinstance(value, list) and segment.isdigit() and int(segment) < len(value):
            value = value[int(segment)]
        else:
            return None
    return value


def _plain(value: Any) -> Any:
    """Of what lies deeper only that it is there; of an array the members that can be compared."""
    if isinstance(value, dict):
        return {}
    if isinstance(value, list):
        return [each for each in value if isinstance(each, str | int | float)]
    return value
