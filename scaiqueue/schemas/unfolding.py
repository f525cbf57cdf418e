"""How many subschemas one value is held against, where a schema's parts refer to each other.

Ten parts that each refer twice to the next make a thousand, forty more than a computer ever counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_LISTS = ("allOf", "anyOf", "oneOf")
_SINGLE = ("not", "if", "then", "else")
_REFERENCES = ("$ref", "$dynamicRef")


class Unfolding:
    """Of one document. References that are none of its own are not followed: compiling refuses them."""

    def __init__(self, document: Any) -> None:
        self._document = document
        self._nodes = [node for node in _nodes(document) if isinstance(node, dict)]
        self._anchors = {
            f"#{node[word]}": node
            for node in self._nodes
            for word in ("$anchor", "$dynamicAnchor")
            if isinstance(node.get(word), str)
        }
        self._sizes: dict[int, int] = {}

    def largest(self) -> int:
        """The most that any value, at any place, is held against."""
        return max((self._size(node) for node in self._nodes), default=0)

    def _size(self, node: Any) -> int:
        if not isinstance(node, dict):
            return 1
        key = id(node)
        if key not in self._sizes:
            self._sizes[key] = 1  # while it is under way: what comes back to it ends there
            self._sizes[key] = 1 + sum(self._size(part) for part in self._parts(node))
        return self._sizes[key]

    def _parts(self, node: dict[str, Any]) -> Iterator[Any]:
        """What holds for the same value."""
        for word in _LISTS:
            parts = node.get(word)
            yield from parts if isinstance(parts, list) else ()
        for word in _SINGLE:
            yield node.get(word)
        dependent = node.get("dependentSchemas")
        yield from dependent.values() if isinstance(dependent, dict) else ()
        for word in _REFERENCES:
            if isinstance(node.get(word), str):
                yield self._referred(node[word])

    def _referred(self, reference: str) -> Any:
        if reference in self._anchors:
            return self._anchors[reference]
        found = self._document
        for step in reference.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and name.isdigit() and int(name) < len(found):
                found = found[int(name)]
            else:
                found = found.get(name) if isinstance(found, dict) else None
        return found


def _nodes(document: Any) -> Iterator[Any]:
    left = [document]
    while left:
        node = left.pop()
        yield node
        if isinstance(node, dict | list):
            left += node.values() if isinstance(node, dict) else node
