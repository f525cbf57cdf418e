"""What becomes of a review that nobody decided in time: as lua/include/end_reviews.lua has it."""

from __future__ import annotations

import msgspec

from scaiqueue import moments
from scaiqueue.fallback.transitions import enter, finish
from scaiqueue.fallback.work import Message, Work
from scaiqueue.queueing.header import read_header
from scaiqueue.records import State

CRITICAL = 4000
_encode = msgspec.json.Encoder().encode


def _on_timeout(header: bytes) -> str:
    spec = read_header(header).hitl_spec
    named = spec.get("on_timeout") if isinstance(spec, dict) else None
    return named if isinstance(named, str) else "expire"


def end_review(work: Work, message: Message, header: bytes) -> None:
    """As `on_timeout` of the spec in the header says; without one it expires."""
    record, how = message.record, _on_timeout(header)
    if how.startswith("auto:") and (option := how.removeprefix("auto:")):
        finish(record, State.completed)
        decided = {"decision": option, "fields": {}, "reviewer": "system:timeout"}
        work.set_outcome(message, _encode({**decided, "decided_at": moments.text(work.now)}), "")
        work.change(message, "decided", "system:timeout")
    elif how == "requeue":
        enter(record, record.queue, work.now, work.now)
        work.change(message, "requeued", "", "review_timeout")
    elif how == "escalate" and record.verb != "escalate":
        record.verb = "escalate"
        record.due_at = work.now + record.due_at - record.created_at
        record.rank = max(record.rank, CRITICAL + record.rank % 1000)
        work.change(message, "escalated", "", "review_timeout")
    else:
        finish(record, State.expired)
        work.change(message, "expired", "", "review_timeout")
