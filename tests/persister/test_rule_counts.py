"""Which transitions count as a rule's, and under what name."""

from __future__ import annotations

import pytest

from scaiqueue.persister.journal import Group
from scaiqueue.persister.rule_counts import rule_action


@pytest.mark.parametrize(
    ("event", "queue", "actor", "detail", "counted"),
    [
        ("routed", "b", "", "vip", ("vip", "moved")),
        ("routed", "b", "", "vip: copy 0190", ("vip", "copied")),
        ("routed", "b", "", "vip: to 0190/b", ("vip", "moved")),
        ("transformed", "b", "", "copy", ("copy", "transformed")),
        ("escalated", "b", "", "vip", ("vip", "escalated")),
        ("escalated", "b", "", "vip: review", ("vip", "reviewed")),
        ("escalated", "b", "", "review_timeout", None),
        ("archived", "b", "", "old", ("old", "archived")),
        ("breaker_tripped", "b", "", "hot", ("hot", "tripped")),
        ("dead_lettered", "_dead_letter", "", "ROUTING_LOOP", ("", "looped")),
        ("dead_lettered", "_dead_letter", "", "ROUTE_TARGET", ("", "unplaced")),
        ("dead_lettered", "_dead_letter", "anna", "ROUTING_LOOP", None),
        ("dead_lettered", "_dead_letter", "", "overflow", None),
        ("completed", "b", "anna", "", None),
    ],
)
def test_a_group(event: str, queue: str, actor: str, detail: str, counted: tuple[str, str] | None) -> None:
    assert rule_action(Group(event, queue, 0, actor, detail, "x" * 36)) == counted
