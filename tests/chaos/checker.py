"""Decides whether a history and the state at its end keep every promise; a pure function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import msgspec

from tests.chaos import fates, leases, order
from tests.chaos.history import Final, Record
from tests.chaos.story import Story

Invariant = Callable[[Story], Iterator[str]]

INVARIANTS: dict[str, Invariant] = {
    "one_fate": fates.one_fate,
    "nothing_unasked": fates.nothing_unasked,
    "conservation": fates.conservation,
    "completion_kept": fates.completion_kept,
    "attempts_counted": fates.attempts_counted,
    "tokens_rise": leases.tokens_rise,
    "no_stale_token": leases.no_stale_token,
    "one_lease": leases.one_lease,
    "completed_stays": leases.completed_stays,
    "order_kept": order.order_kept,
}


class Violation(msgspec.Struct):
    invariant: str
    what: str


class Verdict(msgspec.Struct):
    """`lost` counts acknowledged `indexed` publishes that a strike was allowed to lose, by its kind."""

    violations: list[Violation]
    acknowledged: int
    unknown: int
    lost: dict[str, int]
    lost_span_s: float
    deliveries: int
    redelivered: int
    completed_again: int
    published_again: int


def check(history: Iterable[Record], final: Final) -> Verdict:
    """Every invariant over the whole history."""
    story = Story(history, final)
    violations = [
        Violation(name, what) for name, invariant in INVARIANTS.items() for what in invariant(story)
    ]
    losses = fates.allowed_losses(story)
    completions = {
        message_id: {s.token for s in settles if s.verb == "complete" and s.outcome == "ok"}
        for message_id, settles in story.settles.items()
    }
    return Verdict(
        violations,
        acknowledged=sum(told.acked is not None for told in story.told.values()),
        unknown=sum(told.acked is None and told.possible for told in story.told.values()),
        lost=dict(Counter(loss.kind for loss in losses)),
        lost_span_s=max((loss.before_s for loss in losses), default=0.0),
        deliveries=sum(map(len, story.given.values())),
        redelivered=sum(len(given) - 1 for given in story.given.values()),
        completed_again=sum(len(tokens) > 1 for tokens in completions.values()),
        published_again=sum(len(ids) > 1 for ids in fates.ids_by_key(story).values()),
    )
