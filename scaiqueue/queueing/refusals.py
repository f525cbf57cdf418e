"""From the scripts' words, and from what can go wrong with the servers, to errors of the registry."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.exceptions import (
    BusyLoadingError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.scripts.replies import NotReadyError

RETRY_AFTER_S = 1.0

_AWAY = (
    NotReadyError,
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    MasterDownError,
    ReadOnlyError,
    TryAgainError,
    OperationalError,
    InterfaceError,
    PoolTimeoutError,
    asyncio.TimeoutError,
    OSError,
)


def of_exception(error: Exception) -> QueueError | None:
    """What a caller is told of a server's failure; None: a fault of ours."""
    if isinstance(error, OutOfMemoryError) or (isinstance(error, RedisError) and "OOM " in str(error)):
        return QueueError(Code.SCAIQUEUE_MEMORY_FULL, retry_after=RETRY_AFTER_S)
    if isinstance(error, RedisError) and "MISCONF " in str(error):
        return QueueError(
            Code.SCAIQUEUE_UNAVAILABLE,
            "Redis can't write to its disk and takes no changes: nothing was done. Wait until there is room.",
            retry_after=RETRY_AFTER_S,
        )
    if isinstance(error, _AWAY):
        return unavailable("The queue's servers can't be reached, or are recovering.")
    return None


def unavailable(message: str) -> QueueError:
    return QueueError(
        Code.SCAIQUEUE_UNAVAILABLE,
        f"{message} Wait; a publish may exist: repeat it with its idempotency key.",
        retry_after=RETRY_AFTER_S,
    )


def _word(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def of_reply(reply: list[Any]) -> QueueError:
    """The error for an item's reply that is a refusal. The first element is the word."""
    word, what = reply[0], _word(reply[1]) if len(reply) > 1 else ""
    match word:
        case "FULL":
            return QueueError(Code.SCAIQUEUE_QUEUE_FULL, retry_after=RETRY_AFTER_S)
        case "BACKLOG":
            return QueueError(Code.SCAIQUEUE_BACKLOG_FULL, retry_after=RETRY_AFTER_S)
        case "TOO_LARGE":
            return too_large(int(what))
        case "CONFLICT":
            return QueueError(Code.SCAIQUEUE_IDEMPOTENCY_CONFLICT, details=(Detail("message_id", what),))
        case "PAUSED" | "DRAINING" | "ARCHIVED":
            code = Code.SCAIQUEUE_SCOPE_PAUSED if what == "scope" else Code.SCAIQUEUE_QUEUE_PAUSED
            state = word.lower()
            return QueueError(code, f"The {what} is {state}.", details=(Detail("state", state),))
        case "READONLY":
            return QueueError(Code.SCAIQUEUE_SYSTEM_QUEUE_READONLY)
        case "NOT_FOUND":
            missing = {"scope": Code.SCAIQUEUE_SCOPE_NOT_FOUND, "queue": Code.SCAIQUEUE_QUEUE_NOT_FOUND}
            return QueueError(missing.get(what, Code.SCAIQUEUE_MESSAGE_NOT_FOUND))
        case "CLAIM_LOST":
            return QueueError(Code.SCAIQUEUE_CLAIM_LOST)
        case "INVALID_STATE":
            return invalid_state(what)
    raise ValueError(f"unexpected reply {reply!r}")


def broadcast() -> QueueError:
    why = "Messages of a broadcast queue are claimed from its subscriptions"
    return QueueError(Code.VALIDATION_ERROR, details=(Detail("queue", why),))


def invalid_state(state: str) -> QueueError:
    return QueueError(
        Code.SCAIQUEUE_INVALID_STATE, f"The message is {state}.", details=(Detail("state", state),)
    )


def too_large(limit: int) -> QueueError:
    return QueueError(
        Code.SCAIQUEUE_MESSAGE_TOO_LARGE,
        f"The body is larger than {limit} bytes: store the content elsewhere and publish a reference.",
        details=(Detail("body", f"At most {limit} bytes"),),
    )
