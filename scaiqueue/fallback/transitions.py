"""The parts of a transition, as lua/include/ has them: each changes a record and nothing else."""

from __future__ import annotations

from scaiqueue.fallback.rules import Rules
from scaiqueue.keys import DEAD_LETTER
from scaiqueue.records import Flag, Record, State

LIVE = (State.scheduled, State.pending, State.claimed, State.awaiting_review)


def enter(record: Record, slug: str, ready_at: int, now: int) -> None:
    """To `pending` of a queue, or `scheduled` until `ready_at`."""
    record.queue = slug
    if ready_at > now:
        record.state, record.due_at = State.scheduled, ready_at
    else:
        record.state, record.due_at = State.pending, 0


def finish(record: Record, state: State) -> None:
    record.state, record.due_at = state, 0


def bury(record: Record, reason: str, now: int) -> None:
    """To the dead letter, where neither its TTL nor its deadline ends it."""
    record.origin = (record.queue, reason, record.attempts, now)
    record.expires_at = 0
    enter(record, DEAD_LETTER, now, now)


def give_back(record: Record, name: str, reason: str, delay: int, last_attempt: bool, now: int) -> str:
    """A lease ends without success: a cancel request wins, then expiry, then a retry, then the dead letter.
    Answers the event's name."""
    record.holder = ""
    if record.flags & Flag.cancel_requested:
        finish(record, State.cancelled)
        return "cancelled"
    if 0 < record.expires_at <= now:
        finish(record, State.expired)
        return "expired"
    if last_attempt and record.queue != DEAD_LETTER:
        bury(record, reason, now)
        return "dead_lettered"
    enter(record, record.queue, now + delay, now)
    return name


def is_of(token: str, epoch: int) -> bool:
    """True for a claim token of the epoch."""
    return token.partition(".")[0] == str(epoch)


def void_if_stale(record: Record, epoch: int) -> bool:
    """A lease of another epoch is void: the message is pending, with its attempt counted; where a cancel was
    requested it stays as it is, and is cancelled as soon as it is settled."""
    if record.state != State.claimed or is_of(record.token, epoch):
        return False
    if record.flags & Flag.cancel_requested:
        record.due_at = 0
        return False
    record.holder = ""
    enter(record, record.queue, 0, 0)
    return True


def refusal(
    record: Record | None, rules: Rules, token: str, holder: str, verb: str, epoch: int
) -> list[object] | None:
    """Why the caller may not end or extend this claim, as the item's reply; None: it may.

    Repeating the verb that succeeded with the token is answered OK again.
    """
    if record is None:
        return ["NOT_FOUND"]
    state = State(record.state)
    if state is State.claimed:
        if not is_of(record.token, epoch):
            return ["CLAIM_LOST"]
        if not token:
            if record.holder != holder or rules.require_token:
                return ["CLAIM_LOST"]
        elif token != record.token:
            return ["CLAIM_LOST"]
        return None
    if token and token == record.token and verb == record.verb:
        return ["OK", state.name, record.due_at, record.queue]
    if token and (token != record.token or state in LIVE):
        return ["CLAIM_LOST"]
    return ["INVALID_STATE", state.name]
