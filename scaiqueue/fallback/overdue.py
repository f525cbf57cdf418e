"""What time brings to a queue: lost leases, expiry, readiness, reviews that nobody decided."""

from __future__ import annotations

from collections.abc import Callable

from scaiqueue.fallback import members, rows
from scaiqueue.fallback.members import Kind
from scaiqueue.fallback.reviews import end_review
from scaiqueue.fallback.transitions import enter, finish, give_back
from scaiqueue.fallback.work import Message, Work
from scaiqueue.records import State

Step = Callable[[Work, Message], None]


def _lose_lease(work: Work, message: Message) -> None:
    record = message.record
    last = work.rules(record.queue).exhausted(record)
    event = give_back(record, "lease_lost", "lease_lost", 0, last, work.now)
    work.change(message, event, "", "lease_lost")


def expire(work: Work, message: Message) -> None:
    finish(message.record, State.expired)
    work.change(message, "expired", "")


def _promote(work: Work, message: Message) -> None:
    enter(message.record, message.record.queue, work.now, work.now)
    work.change(message, "promoted", "")


_STEPS: dict[int, Step] = {
    Kind.claimed: _lose_lease,
    Kind.expiry: expire,
    Kind.scheduled: _promote,
}


async def settle(work: Work, slug: str, limit: int) -> int:
    """At most `limit` messages of the queue; answers how many were due."""
    if limit <= 0:
        return 0
    due = await members.overdue(work.conn, work.queue(slug), work.now, limit)
    found = await work.load([message_id for _, message_id in due]) if due else []
    headers = await rows.headers(work.conn, [message_id for kind, message_id in due if kind == Kind.review])
    for (kind, message_id), message in zip(due, found, strict=True):
        if message is None or work.changed(message.id):
            continue
        if kind == Kind.review:
            end_review(work, message, headers[message_id])
        else:
            _STEPS[kind](work, message)
    if due:
        await work.place()
    return len(due)
