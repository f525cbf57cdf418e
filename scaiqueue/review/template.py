"""`{{param}}` in the texts of a pattern's spec, and the spec that they make with their values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

placeholder = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_.-]{0,63})\s*\}\}")
_encode = msgspec.json.Encoder().encode


def parameters_of(spec: Any) -> list[str]:
    """The names that a spec, as plain values, asks for, in the order of their first use."""
    return list(dict.fromkeys(_names(spec)))


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from placeholder.findall(value)
    elif isinstance(value, dict):
        for part in value.values():
            yield from _names(part)
    elif isinstance(value, list):
        for part in value:
            yield from _names(part)


def filled_bytes(spec: Any, parameters: Mapping[str, Any]) -> int:
    """The least that the parameters' values add to the spec as JSON, each as often as it is used."""
    quotes = 2
    sizes = {
        name: len(_encode(value)) - (quotes if isinstance(value, str) else 0)
        for name, value in parameters.items()
    }
    return sum(sizes[name] for name in _names(spec))


def expanded(spec: Any, parameters: Mapping[str, Any]) -> Any:
    """The spec, as plain values, with every parameter's value in its place; all of them must be given.

    A value becomes text within text. Where `content` is nothing but a placeholder it stays what it is. What
    was filled in is not looked at again.
    """
    return _filled(spec, parameters, keep=False)


def _filled(value: Any, parameters: Mapping[str, Any], *, keep: bool) -> Any:
    if isinstance(value, str):
        whole = placeholder.fullmatch(value) if keep else None
        return parameters[whole[1]] if whole else placeholder.sub(_text_of(parameters), value)
    if isinstance(value, dict):
        return {
            name: _filled(part, parameters, keep=keep or name == "content") for name, part in value.items()
        }
    if isinstance(value, list):
        return [_filled(part, parameters, keep=keep) for part in value]
    return value


def _text_of(parameters: Mapping[str, Any]) -> Callable[[re.Match[str]], str]:
    def text(match: re.Match[str]) -> str:
        value = parameters[match[1]]
        return value if isinstance(value, str) else _encode(value).decode()

    return text
