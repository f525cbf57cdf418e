"""Rules as their rows hold them: `when` and `then` as JSON, checked when they were written."""

from __future__ import annotations

from typing import Any

import msgspec

from scaiqueue.review.spec import Spec
from scaiqueue.routing.actions import Then
from scaiqueue.routing.conditions import Reader
from scaiqueue.routing.program import CompiledRule
from scaiqueue.rows.routing_rules import Rulebook, enabled


class Definition(msgspec.Struct, frozen=True, omit_defaults=True):
    """The JSON column; `review` is what the pattern that `then` names made when the rule was stored."""

    when: Any
    then: Then
    review: Spec | None = None


encode_definition = msgspec.json.Encoder().encode
decode_definition = msgspec.json.Decoder(Definition).decode


def compiled(book: Rulebook) -> list[CompiledRule]:
    """The rules in force, in their order."""
    found = []
    for row in enabled(book):
        definition = decode_definition(row.definition)
        when = Reader().read_optional(definition.when)
        found.append(
            CompiledRule(row.id, row.name, row.trigger, row.queue, when, definition.then, definition.review)
        )
    return found
