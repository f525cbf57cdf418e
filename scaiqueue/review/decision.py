"""A reviewer's decision, checked against the spec, and the response that it makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import msgspec

from scaiqueue import moments
from scaiqueue.errors import Detail
from scaiqueue.nesting import TOO_DEEP, too_deep
from scaiqueue.review.spec import Input, Spec, options_by_id

_encode = msgspec.json.Encoder().encode


def decision_faults(spec: Spec, decision: str, fields: Mapping[str, Any], note: str | None) -> list[Detail]:
    """What is wrong with a decision, one detail for each field."""
    return list(_faults(spec, decision, fields, note))


def _faults(spec: Spec, decision: str, fields: Mapping[str, Any], note: str | None) -> Iterator[Detail]:
    options = options_by_id(spec.decision.options)
    if decision not in options:
        yield Detail("decision", "Must be one of " + ", ".join(options))
    elif options[decision].requires_note and not (note or "").strip():
        yield Detail("note", f"Required with {decision}")
    inputs = {asked.field: asked for asked in spec.inputs}
    for name, asked in inputs.items():
        value = fields.get(name)
        if value is None or value == "" or value == []:
            if asked.required:
                yield Detail(f"fields.{name}", "Required field is missing")
        elif wrong := _misfit(asked, value):
            yield Detail(f"fields.{name}", wrong)
    for name in fields:
        if name not in inputs:
            yield Detail(f"fields.{name}", "Unknown field")


def _misfit(asked: Input, value: Any) -> str:
    """Why a value is none of its kind; "" if it is."""
    options = options_by_id(asked.options or [])
    match asked.kind:
        case "json":
            return TOO_DEEP if too_deep(value) else ""
        case "text" | "textarea":
            return "" if isinstance(value, str) else "Must be a text"
        case "number":
            number = isinstance(value, int | float) and not isinstance(value, bool)
            return "" if number else "Must be a number"
        case "boolean":
            return "" if isinstance(value, bool) else "Must be true or false"
        case "select":
            return "" if isinstance(value, str) and value in options else _one_of(options)
        case "multiselect":
            chosen = value if isinstance(value, list) else [None]
            fits = all(isinstance(option, str) and option in options for option in chosen)
            return (
                "" if fits and len(set(chosen)) == len(chosen) else f"A list, each once: {_one_of(options)}"
            )
        case "date":
            return "" if _is_date(value) else "Must be a date, such as 2026-01-31"


def _one_of(options: Mapping[str, object]) -> str:
    return "Must be one of " + ", ".join(options)


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def response(decision: str, fields: Mapping[str, Any], note: str | None, reviewer: str) -> bytes:
    """What the consumer reads, as JSON; `note` only where there is one."""
    said: dict[str, Any] = {"decision": decision, "fields": fields, "reviewer": reviewer}
    said["decided_at"] = moments.text(moments.now_ms())
    if note:
        said["note"] = note
    return _encode(said)
