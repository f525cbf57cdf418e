"""The filter of a subscription: types, labels, and conditions as those of routing rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from scaiqueue.errors import Code, QueueError
from scaiqueue.routing.conditions import Group, Node, Reader, Test
from scaiqueue.routing.contradictions import contradictions

MAX_TYPES, MAX_LABELS = 100, 16

_Text = Annotated[str, Meta(min_length=1, max_length=256)]


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All that is given must hold: one of the `types`, each of the `labels`, and `when`."""

    types: Annotated[list[_Text], Meta(max_length=MAX_TYPES)] = []
    labels: Annotated[dict[_Text, Annotated[str, Meta(max_length=256)]], Meta(max_length=MAX_LABELS)] = {}
    when: Annotated[
        Any, Meta(description="A tree of `all`, `any` and `not` over `{field, op, value}`, as in a rule.")
    ] = None


encode_filter = msgspec.json.Encoder().encode
decode_filter = msgspec.json.Decoder(Filter).decode


def condition(chosen: Filter) -> Node:
    """What must hold of a message. Raises VALIDATION_ERROR for what can't."""
    reader = Reader()
    parts = list(_plain(chosen))
    if chosen.when is not None:
        parts.append(reader.read(chosen.when, "filter.when"))
    found = Group("filter", "all", tuple(parts))
    wrong = reader.wrong or list(contradictions(found, "message_published"))
    if wrong:
        raise QueueError(Code.VALIDATION_ERROR, details=tuple(wrong))
    return found


def _plain(chosen: Filter) -> Iterator[Node]:
    if chosen.types:
        yield Test("filter.types", "type", "in", tuple(chosen.types))
    for name, value in chosen.labels.items():
        yield Test(f"filter.labels.{name}", f"labels.{name}", "eq", value)
