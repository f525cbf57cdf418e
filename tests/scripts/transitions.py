"""Every transition of a message, once: the model obeys this table, docs/state-machine.md is drawn from it.

`python -m tests.scripts.transitions` writes the page and its picture.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tests.scripts.state_diagram import picture

PAGE = Path(__file__).parents[2] / "docs" / "state-machine.md"
PICTURE = PAGE.with_suffix(".svg")
NONE = "none"
DEAD = "dead_letter"
TERMINAL = ("completed", "expired", "cancelled")


class Transition(NamedTuple):
    """`state` and `to` are record states, `dead_letter` for pending in the dead letter queue, or `none`."""

    state: str
    verb: str
    to: str
    condition: str


def _rows(states: str, verb: str, to: str, condition: str) -> tuple[Transition, ...]:
    return tuple(Transition(state, verb, to, condition) for state in states.split())


TRANSITIONS = (
    *_rows(NONE, "publish", "pending", "no delay"),
    *_rows(NONE, "publish", "scheduled", "with a delay"),
    *_rows(NONE, "publish", "awaiting_review", "a human has to decide"),
    *_rows(NONE, "publish", DEAD, "the queue is full and overflows to the dead letter"),
    *_rows("pending scheduled", "overflow", "cancelled", "oldest of a full queue that drops its oldest"),
    *_rows("scheduled", "promote", "pending", "its time has come"),
    *_rows("scheduled", "promote", DEAD, "its time has come, in the dead letter"),
    *_rows(f"pending {DEAD}", "claim", "claimed", "first in its queue's order; attempts + 1"),
    *_rows("claimed", "complete", "completed", "current token or holder; wins over TTL and cancel request"),
    *_rows("claimed", "extend", "claimed", "current token or holder; the lease counts from now"),
    *_rows("claimed", "release", "pending", "no delay; attempts - 1"),
    *_rows("claimed", "release", "scheduled", "with a delay; attempts - 1"),
    *_rows("claimed", "release", DEAD, "it was claimed in the dead letter; attempts - 1"),
    *_rows("claimed", "fail", "scheduled", "attempts left: after the backoff"),
    *_rows("claimed", "fail", "pending", "attempts left, and the backoff is 0"),
    *_rows("claimed", "fail", DEAD, "no attempts left, not retryable, or no backoff in the dead letter"),
    *_rows("claimed", "lose lease", "pending", "the lease ended, attempts left: at once"),
    *_rows("claimed", "lose lease", DEAD, "the lease ended, no attempts left or in the dead letter"),
    *_rows("claimed", "cancel", "claimed", "the request is noted; the holder hears of it at its next extend"),
    *_rows("claimed", "release", "cancelled", "cancel was requested"),
    *_rows("claimed", "fail", "cancelled", "cancel was requested"),
    *_rows("claimed", "lose lease", "cancelled", "cancel was requested"),
    *_rows("claimed", "release", "expired", "TTL or deadline has passed"),
    *_rows("claimed", "fail", "expired", "TTL or deadline has passed"),
    *_rows("claimed", "lose lease", "expired", "TTL or deadline has passed"),
    *_rows("pending scheduled awaiting_review", "expire", "expired", "TTL or deadline has passed"),
    *_rows("awaiting_review", "decide", "completed", "the version is the one that the reviewer saw"),
    *_rows("awaiting_review", "time out", "expired", "nobody decided in time, or again after an escalation"),
    *_rows(
        "awaiting_review", "time out", "awaiting_review", "`on_timeout: escalate`: once, with its time again"
    ),
    *_rows("awaiting_review", "time out", "pending", "`on_timeout: requeue`: to ordinary consumers"),
    *_rows("awaiting_review", "time out", "completed", "`on_timeout: auto:<option>`: with that option"),
    *_rows(f"pending scheduled awaiting_review {DEAD}", "cancel", "cancelled", ""),
    *_rows(f"pending scheduled awaiting_review {DEAD}", "purge", "cancelled", "up to 1,000 a call"),
    *_rows(
        f"pending scheduled claimed awaiting_review {DEAD}",
        "erase",
        "cancelled",
        "its content is erased; a holder's token counts no more",
    ),
    *_rows(DEAD, "redrive", "pending", "attempts 0; to its origin, or the queue that is named"),
    *_rows("claimed", "restore", "pending", "Redis was lost: leases are void, the attempt stays counted"),
    *_rows("claimed", "restore", DEAD, "Redis was lost while it was claimed in the dead letter"),
    *_rows("claimed", "restore", "cancelled", "Redis was lost, and cancel was requested"),
    *_rows("completed expired cancelled", "forget", NONE, "its row is committed; the rows keep it"),
)

_allowed = {(row.state, row.verb, row.to) for row in TRANSITIONS}


def check_allowed(state: str, verb: str, to: str) -> None:
    """Raises AssertionError for a transition that is not in the table."""
    assert (state, verb, to) in _allowed, f"no such transition: {state} --{verb}--> {to}"


def edges() -> list[tuple[str, str, list[str]]]:
    """State, next state, verbs: one for each pair of states."""
    verbs: dict[tuple[str, str], list[str]] = {}
    for row in TRANSITIONS:
        listed = verbs.setdefault((row.state, row.to), [])
        if row.verb not in listed:
            listed.append(row.verb)
    return [(state, to, names) for (state, to), names in verbs.items()]


def page() -> str:
    """The text of docs/state-machine.md."""
    table = "\n".join(f"| {row.state} | {row.verb} | {row.to} | {row.condition} |" for row in TRANSITIONS)
    return f"""# States of a message

Generated by `make generate` from the table that the model-based test of the scripts obeys.

![The states and what leads from one to another](state-machine.svg)

`dead_letter` is the state `pending` in the scope's queue `_dead_letter`; claimed and scheduled messages
there have the state of that name. `promote`, `expire`, `lose lease` and `time out` happen when a claim
on the queue or the sweep finds them due. `completed`, `expired` and `cancelled` are final: the row stays,
the index forgets the message once its row is committed. [Routing rules](routing.md) may send a message to
another queue or to `awaiting_review` instead of where it would go, or end it as `archived`, which is final
too. What is published in a [broadcast queue](broadcast.md) is `completed` at once; its copies go the ways
below.

| state | verb or event | next state | when |
|---|---|---|---|
{table}
"""


if __name__ == "__main__":
    PAGE.write_text(page())
    PICTURE.write_text(picture(edges()))
