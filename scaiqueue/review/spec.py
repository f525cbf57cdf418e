"""The spec of a review: sections that show something, ask for something, or ask for the decision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from scaiqueue.errors import Detail
from scaiqueue.nesting import TOO_DEEP, too_deep

Kind = Literal["text", "textarea", "number", "boolean", "select", "multiselect", "date", "json"]
Title = Annotated[str, Meta(min_length=1, max_length=1024)]
OptionId = Annotated[str, Meta(min_length=1, max_length=256)]
Field = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$(?!\n)",
        description="Names the answer; once in a spec.",
        examples=["comment"],
    ),
]
DEFAULT_TIMEOUT_S = 86_400
SYSTEM = "system:"
_AUTO = "auto:"
_CHOICES = ("select", "multiselect")


class Option(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """As a plain string, the string is id and label. `requires_note`: who chooses it must say why."""

    id: OptionId
    label: Title | None = None
    requires_note: bool = False


Options = Annotated[list[OptionId | Option], Meta(min_length=1, max_length=100)]


class Context(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="context", frozen=True):
    """Shown to the reviewer. `content` is any JSON value."""

    title: Title
    content: Any


class Input(
    msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, tag_field="type", tag="input", frozen=True
):
    """Asked of the reviewer. `options` are what a `select` or `multiselect` chooses from."""

    field: Field
    kind: Kind = "text"
    required: bool = False
    label: Title | None = None
    options: Options | None = None


class Decision(
    msgspec.Struct,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="type",
    tag="decision",
    frozen=True,
):
    """What is to be decided: one of `options`."""

    field: Field
    options: Options
    label: Title | None = None


class Spec(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """One section is the decision. `on_timeout` says what follows after `timeout_s` (absent, a day) without
    it: `expire`, `escalate` (once: critical, the time again), `requeue` to consumers, `auto:<option>`."""

    sections: Annotated[list[Context | Input | Decision], Meta(min_length=1, max_length=50)]
    timeout_s: Annotated[float, Meta(ge=0.001, le=31_536_000, examples=[3600])] | None = None
    on_timeout: (
        Annotated[
            str,
            Meta(pattern=r"^(expire|escalate|requeue|auto:.{1,256})$(?!\n)", examples=["escalate"]),
        ]
        | None
    ) = None

    @property
    def timeout_ms(self) -> int:
        return max(1, round((self.timeout_s or DEFAULT_TIMEOUT_S) * 1000))

    @property
    def decision(self) -> Decision:
        """Of a spec without faults."""
        return next(section for section in self.sections if isinstance(section, Decision))

    @property
    def inputs(self) -> list[Input]:
        return [section for section in self.sections if isinstance(section, Input)]


def options_by_id(options: Sequence[str | Option]) -> dict[str, Option]:
    """Plain strings as options."""
    every = (Option(option) if isinstance(option, str) else option for option in options)
    return {option.id: option for option in every}


def faults(spec: Spec, place: str) -> list[Detail]:
    """What the types alone don't tell; `place` is the spec's own field."""
    return list(_faults(spec, place))


def _faults(spec: Spec, place: str) -> Iterator[Detail]:
    named: set[str] = set()
    decisions: list[Decision] = []
    for number, section in enumerate(spec.sections):
        at = f"{place}.sections[{number}]"
        if isinstance(section, Context):
            if too_deep(section.content):
                yield Detail(f"{at}.content", TOO_DEEP)
            continue
        if section.field in named:
            yield Detail(f"{at}.field", f"{section.field} is the name of another section's field")
        named.add(section.field)
        options = section.options or []
        if len(options_by_id(options)) < len(options):
            yield Detail(f"{at}.options", "Two options have the same id")
        if isinstance(section, Decision):
            decisions.append(section)
        elif (section.kind in _CHOICES) != bool(options):
            wanted = "Required" if section.kind in _CHOICES else "Not possible"
            yield Detail(f"{at}.options", f"{wanted} for the kind {section.kind}")
    if len(decisions) != 1:
        yield Detail(f"{place}.sections", f"One of them must be the decision, not {len(decisions)}")
    elif spec.on_timeout is not None and spec.on_timeout.startswith(_AUTO):
        option = options_by_id(decisions[0].options).get(spec.on_timeout.removeprefix(_AUTO))
        if option is None:
            yield Detail(f"{place}.on_timeout", "auto: must name one of the decision's options")
        elif option.requires_note:
            yield Detail(f"{place}.on_timeout", "auto: can't choose an option that requires a note")


def stored_spec(value: Any) -> Spec | None:
    """The spec in a header; None where it is none, as a direct caller may write anything."""
    try:
        spec = msgspec.convert(value, Spec)
    except (msgspec.ValidationError, RecursionError):
        return None
    return None if faults(spec, "") else spec
