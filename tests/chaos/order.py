"""The order in which messages are handed out for the first time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from tests.chaos.story import Story, Told

PRIORITY_PREFIX = "priority"


class First(NamedTuple):
    """The first delivery of a message that nobody had before, as far as anyone can know."""

    told: Told
    begun: float
    ended: float

    @property
    def published(self) -> float:
        """By then it was in the queue."""
        assert self.told.acked is not None
        return self.told.acked


def order_kept(story: Story) -> Iterator[str]:
    """A message was not handed out before another of its queue that certainly came before it.

    Only what is certain counts: A was acknowledged before B was sent (or has a higher rank and was
    acknowledged before B was asked for), and B's claim was answered before the claim that gave A began.
    """
    by_queue: dict[str, list[First]] = defaultdict(list)
    for given in story.given.values():
        one = given[0]
        told = story.told.get(one.delivery.key)
        if told is None or told.acked is None or one.delivery.attempts != 1:
            continue
        # Someone whose answer was lost may have had it, and Redis may have forgotten that.
        held = story.unheard_between(told.queue, told.begun, one.begun)
        unseen = story.may_be_unseen(told.begun, told.acked)
        if not held and not unseen and not story.may_be_lost(told.begun, one.ended):
            by_queue[told.queue].append(First(told, one.begun, one.ended))
    for queue, firsts in by_queue.items():
        ranks = sorted({first.told.rank for first in firsts}) if queue.startswith(PRIORITY_PREFIX) else [0]
        classes = [[first for first in firsts if ranks == [0] or first.told.rank == rank] for rank in ranks]
        for of_rank in classes:
            yield from _overtaken(queue, of_rank, of_rank, lambda first: first.told.begun)
        for lower, higher in combinations(classes, 2):
            yield from _overtaken(queue, higher, lower, lambda first: first.begun)


def _overtaken(
    queue: str, ahead: Sequence[First], behind: Sequence[First], entered: Callable[[First], float]
) -> Iterator[str]:
    """Messages of `ahead` that were handed out after one of `behind` that `entered` after they were there."""
    given = sorted(behind, key=lambda first: first.ended)
    at, latest = 0, None
    for first in sorted(ahead, key=lambda first: first.begun):
        while at < len(given) and given[at].ended < first.begun:
            if latest is None or entered(given[at]) > entered(latest):
                latest = given[at]
            at += 1
        if latest is not None and entered(latest) > first.published:
            yield f"{queue}: {latest.told.key} was handed out before {first.told.key}"
