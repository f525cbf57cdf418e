"""Types of events, what of the journal is told as which, and the patterns that choose among them."""

from __future__ import annotations

from collections.abc import Iterable

MESSAGE = "scaiqueue.message."
MESSAGE_KINDS = (
    "published",
    "claimed",
    "completed",
    "dead_lettered",
    "failed",
    "released",
    "extended",
    "expired",
    "routed",
    "cancelled",
    "cancel_requested",
    "lease_lost",
    "promoted",
    "redriven",
    "transformed",
    "escalated",
    "archived",
    "requeued",
    "restored",
    "repaired",
    "broadcast",
)
# A decision completes the message, as does making its copies: it is told as both.
_OTHERWISE = {
    "broadcast": (MESSAGE + "broadcast", MESSAGE + "completed"),
    "decided": ("hitl.decided", MESSAGE + "completed"),
    "breaker_tripped": ("routing.breaker_tripped",),
}
STATE_CHANGES = {
    "pause": "paused",
    "resume": "resumed",
    "drain": "draining",
    "archive": "archived",
    "unarchive": "unarchived",
}
STREAM_KINDS = ("opened", "appended", "closed", "aborted")
TEST = "webhook.test"

TYPES: tuple[str, ...] = (
    *(MESSAGE + kind for kind in MESSAGE_KINDS),
    "hitl.decided",
    "routing.breaker_tripped",
    *(f"queue.{kind}" for kind in ("created", "updated", *STATE_CHANGES.values(), "deleted")),
    *(
        f"scope.{kind}"
        for kind in ("created", "updated", "paused", "resumed", "archived", "unarchived", "deleted")
    ),
    *(f"stream.{kind}" for kind in STREAM_KINDS),
)

COMPLETED = MESSAGE + "completed"


def types_of(transition: str) -> tuple[str, ...]:
    """What a message's transition is told as."""
    return _OTHERWISE.get(transition) or (MESSAGE + transition,)


def is_pattern(text: str) -> bool:
    """True for a type, for the beginning of one up to a dot and `*`, and for `*`."""
    if text.endswith("*"):
        start = text[:-1]
        return not start or (start.endswith(".") and any(kind.startswith(start) for kind in TYPES))
    return text in TYPES


class Choice:
    """Which types are wanted."""

    def __init__(self, patterns: Iterable[str]) -> None:
        chosen = list(patterns)
        self._types = frozenset(pattern for pattern in chosen if not pattern.endswith("*"))
        self._starts = tuple(pattern[:-1] for pattern in chosen if pattern.endswith("*"))

    def has(self, event_type: str) -> bool:
        return event_type in self._types or event_type.startswith(self._starts)
