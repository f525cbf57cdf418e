"""A pattern in use: its name, values for its parameters, and the spec that they make."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from scaiqueue.api.validation import invalid
from scaiqueue.errors import Detail, QueueError
from scaiqueue.nesting import TOO_DEEP, too_deep
from scaiqueue.queueing.header import MAX_HEADER
from scaiqueue.review.spec import Spec, faults
from scaiqueue.review.template import expanded, filled_bytes, parameters_of
from scaiqueue.rows.documents import DocumentRow

PatternName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$(?!\n)", examples=["refund"])]
PatternVersion = Annotated[int, Meta(ge=1, le=999_999_999)]
ParameterName = Annotated[str, Meta(min_length=1, max_length=256)]


class PatternUse(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A pattern of the scope, its highest version if none is named, and values for its `{{param}}`."""

    name: PatternName
    version: PatternVersion | None = None
    parameters: dict[ParameterName, Any] = {}

    @property
    def reference(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"


def expand(pattern: DocumentRow, parameters: dict[str, Any], prefix: str) -> Spec:
    """The pattern's spec with its parameters' values. Raises VALIDATION_ERROR, whose fields begin with
    `prefix`, where one is missing or makes no spec."""
    template = msgspec.json.decode(pattern.document)
    missing = [name for name in parameters_of(template) if name not in parameters]
    if missing:
        raise invalid(
            *(Detail(f"{prefix}parameters.{name}", "Required field is missing") for name in missing)
        )
    if deep := [name for name, value in parameters.items() if too_deep(value)]:
        raise invalid(*(Detail(f"{prefix}parameters.{name}", TOO_DEEP) for name in deep))
    if filled_bytes(template, parameters) > MAX_HEADER:
        raise invalid(Detail(f"{prefix}parameters", f"They make a spec of more than {MAX_HEADER} bytes"))
    return checked_spec(expanded(template, parameters), f"{prefix}spec")


def checked_spec(values: Any, place: str) -> Spec:
    """Raises VALIDATION_ERROR."""
    try:
        spec = msgspec.convert(values, Spec)
    except msgspec.ValidationError as error:
        raise _named(error, place) from None
    if wrong := faults(spec, place):
        raise invalid(*wrong)
    return spec


def _named(error: msgspec.ValidationError, place: str) -> QueueError:
    text, _, at = str(error).partition(" - at `$")
    return invalid(Detail(place + at.rstrip("`"), text))
