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


class _Ruled(msgspec.Struct):
    """For how long a rule asked a human; 0: none did."""

    review_ms: int = 0


_ruled = msgspec.json.Decoder(_Ruled).decode


def _on_timeout(header: bytes, overlay: bytes) -> str:
    spec = read_header(header, overlay).hitl_spec
    named = spec.get("on_timeout") if isinstance(spec, dict) else None
    return named if isinstance(named, str) else "expire"


def end_review(work: Work, message: Message, header: bytes) -> None:
    """As `on_timeout` of the spec says, that of a rule before that in the header; without one it expires."""
    record, overlay = message.record, message.overlay.encode()
    how = _on_timeout(header, overlay)
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
        ruled_ms = _ruled(overlay).review_ms if overlay else 0
        record.due_at = work.now + (ruled_ms or record.due_at - record.created_at)
        record.rank = max(record.rank, CRITICAL + record.rank % 1000)
        work.change(message, "escalated", "", "review_timeout")
    else:
        finish(record, State.expired)
        work.change(message, "expired", "", "review_timeout")
