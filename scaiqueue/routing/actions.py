"""The `then` of a rule: what is done with a message that it matches."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from scaiqueue.errors import Detail
from scaiqueue.queueing.header import Priority
from scaiqueue.review.pattern import PatternUse

TargetQueue = Annotated[
    str, Meta(min_length=1, max_length=128, description="Id or slug", examples=["urgent"])
]
TargetScope = Annotated[
    str, Meta(min_length=1, max_length=128, description="Id or slug; absent: the rule's own")
]
Text = Annotated[str, Meta(min_length=1, max_length=256)]
LabelValue = Annotated[str, Meta(max_length=256)]
YearSeconds = Annotated[float, Meta(gt=0, le=31_536_000)]
DelaySeconds = Annotated[float, Meta(ge=0, le=31_536_000)]


class Route(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """`move` sends the message itself, `copy` a new one with `parent_id` and `causation_id`. To the queue of
    another `scope`, which must trust this one, messages are sent on after the transition."""

    queue: TargetQueue
    mode: Literal["move", "copy"] = "move"
    scope: TargetScope | None = None


class Transform(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Changes what the message says of itself; with a copy, what the copy says. A label that is null goes."""

    labels: Annotated[dict[Text, LabelValue | None], Meta(max_length=64)] | None = None
    type: Text | None = None
    priority: Priority | None = None
    delay_s: DelaySeconds | None = None
    ttl_seconds: YearSeconds | None = None


class Escalate(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Raises the priority, never lowers it, and may send the message to another queue. With `hitl_pattern` it
    awaits a human's decision there: parameters may hold `{{type}}`, `{{labels.<name>}}` and other texts of
    the message; the version is the highest when the rule is stored, if none is named."""

    priority: Priority | None = None
    queue: TargetQueue | None = None
    hitl_pattern: PatternUse | None = None


class Then(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One of route, escalate and archive, transform alone, or transform and one of them."""

    route: Route | None = None
    transform: Transform | None = None
    escalate: Escalate | None = None
    archive: bool = False

    @property
    def target(self) -> str | None:
        """The queue that it names."""
        if self.route is not None:
            return self.route.queue
        return self.escalate.queue if self.escalate is not None else None


# What ends a message can't change it any more.
ENDINGS = ("message_completed", "message_expired")


def wrong_actions(then: Then, trigger: str) -> list[Detail]:
    """What the types alone don't tell; queues are not looked up."""
    ends = [name for name in ("route", "escalate", "archive") if getattr(then, name)]
    if not ends and then.transform is None:
        return [Detail("then", "Must have route, transform, escalate or archive")]
    wrong = []
    if len(ends) > 1:
        wrong.append(Detail("then", f"Only one of {' and '.join(ends)} is possible"))
    if then.transform is not None and then.transform == Transform():
        wrong.append(Detail("then.transform", "Must change something"))
    if then.escalate is not None and then.escalate == Escalate():
        wrong.append(Detail("then.escalate", "Must have priority, queue or hitl_pattern"))
    for name, queue in (
        ("route", then.route.queue if then.route else None),
        ("escalate", then.escalate.queue if then.escalate else None),
    ):
        if queue is not None and (set(queue) & set("/:")):
            wrong.append(Detail(f"then.{name}.queue", OTHER_SCOPE))
    if trigger in ENDINGS:
        wrong += _after_the_end(then, trigger)
    return wrong


OTHER_SCOPE = "Must be a queue's id or slug; another scope is named by then.route.scope"


def _after_the_end(then: Then, trigger: str) -> list[Detail]:
    copies = then.route is not None and then.route.mode == "copy"
    if trigger == "message_completed":
        if not copies:
            return [
                Detail("then", "A completed message stays so: route with mode copy is all that is possible")
            ]
        return []
    moves = then.target is not None or then.archive or (then.escalate and then.escalate.hitl_pattern)
    if moves:
        return []
    return [Detail("then", "The message expires: route it, escalate it to a queue or a human, or archive it")]
