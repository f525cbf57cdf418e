"""What a human is asked where a rule says so: a pattern's spec, with places for texts of the message."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from scaiqueue.api.validation import invalid
from scaiqueue.errors import Detail
from scaiqueue.nesting import too_deep
from scaiqueue.queueing.header import MAX_HEADER
from scaiqueue.review.pattern import PatternUse, expand
from scaiqueue.review.spec import Context, Spec
from scaiqueue.review.template import parameters_of, placeholder
from scaiqueue.routing.conditions import kind_of
from scaiqueue.rows.documents import DocumentRow

PLACE = "then.escalate.hitl_pattern"
# Of a message's text no more is shown.
LONGEST = 256
# Without blanks it reads the same in a text and in the JSON of it.
_place = re.compile(r"\{\{([A-Za-z_][A-Za-z0-9_.-]{0,63})\}\}")
_json = msgspec.json.Encoder().encode


def ruled_spec(pattern: DocumentRow, use: PatternUse) -> Spec:
    """The spec with the rule's parameters; what they ask of a message stands in it as `{{field}}`.

    Raises VALIDATION_ERROR, whose fields begin with PLACE.
    """
    if wrong := list(_unknown(use)):
        raise invalid(*wrong)
    parameters = {name: _tight(value) for name, value in use.parameters.items()}
    spec = expand(pattern, parameters, f"{PLACE}.")
    if wrong := list(_faults(spec)):
        raise invalid(*wrong)
    return spec


def cut(spec: Spec) -> list[str]:
    """The spec's JSON in pieces: text, field, text, …, where the message's texts go."""
    return _place.split(_json(spec).decode())


def _unknown(use: PatternUse) -> Iterator[Detail]:
    for name, value in use.parameters.items():
        for field in [] if too_deep(value) else parameters_of(value):
            if kind_of(field) != "text":
                known = "type, labels.<name>, source.type, source.id, correlation_id"
                why = f"{{{{{field}}}}} is no text of a message: {known} are"
                yield Detail(f"{PLACE}.parameters.{name}", why)


def _tight(value: Any) -> Any:
    """Without blanks in its places."""
    if isinstance(value, str):
        return placeholder.sub(r"{{\1}}", value)
    if too_deep(value):
        return value
    if isinstance(value, dict):
        return {name: _tight(part) for name, part in value.items()}
    return [_tight(part) for part in value] if isinstance(value, list) else value


def _faults(spec: Spec) -> Iterator[Detail]:
    encoded = _json(spec)
    if len(encoded) > MAX_HEADER:
        yield Detail(PLACE, f"It makes a spec of {len(encoded)} bytes, more than {MAX_HEADER}")
    asked, open_to_texts = _place.findall(encoded.decode()), _place.findall(_json(_shown(spec)).decode())
    if len(asked) != len(open_to_texts) or any(kind_of(field) != "text" for field in asked):
        yield Detail(f"{PLACE}.parameters", "A message's text can stand in titles, contents and labels alone")
    try:
        msgspec.json.decode(_place.sub("x" * LONGEST, encoded.decode()), type=Spec)
    except msgspec.ValidationError as error:
        yield Detail(f"{PLACE}.parameters", f"With texts of {LONGEST} characters: {error}")


def _shown(spec: Spec) -> list[Any]:
    return [
        (section.title, section.content) if isinstance(section, Context) else section.label
        for section in spec.sections
    ]
