"""What some publishes ask for before there is a draft: a body that fits its schema, a human's decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from scaiqueue.api.drafts import NULL_BODY, Publish
from scaiqueue.api.validation import invalid
from scaiqueue.errors import Detail, QueueError
from scaiqueue.nesting import TOO_DEEP, too_deep
from scaiqueue.queueing.directory import QueueEntry
from scaiqueue.queueing.header import MAX_HEADER, is_json_type
from scaiqueue.review.spec import Spec, faults
from scaiqueue.review.template import expanded, filled_bytes, parameters_of
from scaiqueue.rows.documents import DocumentRow

if TYPE_CHECKING:
    from scaiqueue.services import Services


def needs_preparation(asked: Publish, queue: QueueEntry) -> bool:
    """True for the few messages that `prepare` has something to do for."""
    return (
        queue.checked
        or asked.schema is not None
        or asked.hitl_spec is not None
        or asked.hitl_pattern is not None
    )


async def prepare(services: Services, queue: QueueEntry, asked: Publish) -> Spec | None:
    """Checks the body, and returns what a human is to be asked. Raises QueueError for what does not fit."""
    review = await review_of(services, queue, asked)
    if queue.checked or asked.schema is not None:
        body = (bytes(asked.body) or NULL_BODY) if is_json_type(asked.content_type) else None
        await services.schema_checks.check(queue, asked.type, asked.schema, body)
    return review


async def review_of(services: Services, queue: QueueEntry, asked: Publish) -> Spec | None:
    """What a human is to be asked; None: nothing. Raises QueueError for what makes no spec."""
    use = asked.hitl_pattern
    if use is None and asked.hitl_spec is None:
        return None
    if use is not None and asked.hitl_spec is not None:
        raise invalid(Detail("hitl_pattern", "Give either hitl_spec or hitl_pattern"))
    for name in ("delay_s", "delay_until"):
        if getattr(asked, name) is not None:
            raise invalid(Detail(name, "Not possible for a message that awaits a decision"))
    if use is None:
        spec, place = asked.hitl_spec, "hitl_spec"
        assert spec is not None
        if wrong := faults(spec, place):
            raise invalid(*wrong)
        return spec
    reference = use.name if use.version is None else f"{use.name}@{use.version}"
    return expand(await services.patterns.get(queue.scope.id, reference), use.parameters, "hitl_pattern.")


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
