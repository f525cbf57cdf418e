"""Whose messages are meant: the fields of a subject, and whether a message fits."""

from __future__ import annotations

from typing import Any

import msgspec

from scaiqueue.queueing.header import Header, read_header

Scalar = str | int | float | bool | None

_decode = msgspec.json.Decoder().decode


class Subject(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that is given must hold. `body`: values by their path in a JSON body, names joined by dots."""

    source_id: str | None = None
    correlation_id: str | None = None
    labels: dict[str, str] = {}
    body: dict[str, Scalar] = {}

    @property
    def kinds(self) -> list[str]:
        """By what it is told, without saying what."""
        given = msgspec.structs.asdict(self)
        return [name for name, value in given.items() if value not in (None, {})]

    @property
    def texts(self) -> set[str]:
        """Every text that names the person."""
        values = (self.source_id, self.correlation_id, *self.labels.values(), *self.body.values())
        return {value for value in values if isinstance(value, str) and value}

    def fits(self, header: bytes, overlay: bytes, body: bytes) -> bool:
        """What was published counts, and what rules made of it."""
        heads = [read_header(header)]
        if overlay:
            heads.append(read_header(header, overlay))
        return any(self._fits_head(head) for head in heads) and (not self.body or self._fits_body(body))

    def _fits_head(self, head: Header) -> bool:
        source = head.source.id if head.source else None
        return (
            self.source_id in (None, source)
            and self.correlation_id in (None, head.correlation_id)
            and self.labels.items() <= head.labels.items()
        )

    def _fits_body(self, body: bytes) -> bool:
        try:
            value = _decode(body)
        except (ValueError, RecursionError):
            return False
        return all(_same(_at(value, path.split(".")), asked) for path, asked in self.body.items())


_ABSENT = object()


def _at(value: Any, path: list[str]) -> Any:
    """A number in a path is a place in a list."""
    for name in path:
        if isinstance(value, dict):
            value = value.get(name, _ABSENT)
        elif isinstance(value, list) and name.isascii() and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return _ABSENT
    return value


def _same(found: Any, asked: Scalar) -> bool:
    """True is not 1."""
    return isinstance(found, bool) == isinstance(asked, bool) and bool(found == asked)
