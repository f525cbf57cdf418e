"""Counts what routing rules did, for Prometheus: the journal tells it, of direct callers too."""

from __future__ import annotations

from collections import Counter

from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.keys import DEAD_LETTER, ScopeKeys
from scaiqueue.persister import metrics
from scaiqueue.persister.batch import Batch
from scaiqueue.persister.journal import ID_LENGTH, Group
from scaiqueue.rows import scopes

MAX_RULES = 1000
OTHER = "(other)"
_STEPS = {
    "routed": "moved",
    "transformed": "transformed",
    "escalated": "escalated",
    "archived": "archived",
    "breaker_tripped": "tripped",
}
_VARIANTS = {"copy": "copied", "review": "reviewed"}
_ENDS = {"ROUTING_LOOP": "looped", "ROUTE_TARGET": "unplaced"}
# The detail of what a review's own timeout escalates.
_TIMEOUT = "review_timeout"


def rule_action(group: Group) -> tuple[str, str] | None:
    """The rule and what it did; None where that was no rule."""
    event, queue, _, actor, detail, _ = group
    if event == "dead_lettered":
        ended = _ENDS.get(detail) if queue == DEAD_LETTER and not actor else None
        return None if ended is None else ("", ended)
    if event not in _STEPS or detail == _TIMEOUT:
        return None
    rule, _, more = detail.partition(": ")
    return rule, _VARIANTS.get(more.partition(" ")[0], _STEPS[event])


class RuleCounts:
    """Rules beyond MAX_RULES share one label value."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._slugs: dict[ScopeKeys, str] = {}
        self._seen: set[tuple[str, str]] = set()

    async def add(self, batch: Batch) -> None:
        """What the batch tells; nothing is counted where it raises."""
        found: Counter[tuple[ScopeKeys, str, str]] = Counter()
        for entry in batch.entries:
            for group in entry.groups:
                action = rule_action(group)
                if action is not None and entry.scope_root in batch.scopes:
                    keys = batch.scopes[entry.scope_root].keys
                    found[(keys, *action)] += len(group.joined) // ID_LENGTH
        for keys, _, _ in found:
            await self._learn(keys)
        for (keys, rule, done), messages in found.items():
            place = self._label(self._slugs[keys], rule)
            metrics.rule_actions.labels(keys.tenant, *place, done).inc(messages)

    async def _learn(self, keys: ScopeKeys) -> None:
        if keys not in self._slugs:
            row = await scopes.find(self._engine, keys.tenant, keys.scope_id)
            self._slugs[keys] = OTHER if row is None else row.slug

    def _label(self, scope: str, rule: str) -> tuple[str, str]:
        label = (scope, rule)
        if label not in self._seen and len(self._seen) >= MAX_RULES:
            return OTHER, OTHER
        self._seen.add(label)
        return label
