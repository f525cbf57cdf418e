"""What some publishes ask for before there is a draft: a body that fits its schema, a human's decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaiqueue.api.drafts import NULL_BODY, Publish
from scaiqueue.api.validation import invalid
from scaiqueue.errors import Detail
from scaiqueue.queueing.directory import QueueEntry
from scaiqueue.queueing.header import is_json_type
from scaiqueue.review.pattern import expand
from scaiqueue.review.spec import Spec, faults

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
    pattern = await services.patterns.get(queue.scope.id, use.reference)
    return expand(pattern, use.parameters, "hitl_pattern.")
