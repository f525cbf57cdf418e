"""From what a handler returned or raised to what the queue is told."""

from __future__ import annotations

from scaiqueue.client.jobs import Handling
from scaiqueue.client.leasing import Failure
from scaiqueue.client.messages import Claimed

_LONGEST_REASON = 4096


class DeadLetter(Exception):
    """Raised by a handler: no other attempt, the message goes to the dead letter."""


class RetryLater(Exception):
    """Raised by a handler: try again in `after_s` seconds, if there are attempts left."""

    def __init__(self, after_s: float, reason: str = "") -> None:
        super().__init__(reason or f"again in {after_s:g} s")
        self.after_s = after_s


def failure(message: Claimed, handling: Handling | None, error: BaseException) -> Failure:
    """What is said of an attempt that ended with this exception."""
    failed = Failure(message.id, message.claim_token, reason_of(error))
    if isinstance(error, DeadLetter):
        failed.retryable = False
    elif isinstance(error, RetryLater):
        failed.retry_after_s = error.after_s
    elif handling is not None:
        if isinstance(error, handling.dead_letter):
            failed.retryable = False
        else:
            waits = [s for kind, s in handling.retry_after_s.items() if isinstance(error, kind)]
            failed.retry_after_s = waits[0] if waits else None
    return failed


def hopeless(message: Claimed, error: BaseException) -> Failure:
    """What is said of a message that no attempt can handle."""
    return Failure(message.id, message.claim_token, reason_of(error), retryable=False)


def reason_of(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, (DeadLetter, RetryLater)):
        return text[:_LONGEST_REASON]
    name = type(error).__name__
    return f"{name}: {text}"[:_LONGEST_REASON] if text else name
