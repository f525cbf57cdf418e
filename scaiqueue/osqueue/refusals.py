"""Errors as osqueue's clients are told of them: a tag and a message, or Connect's code and a message."""

from __future__ import annotations

import msgspec
import structlog

from scaiqueue.errors import Code, QueueError
from scaiqueue.queueing import metrics
from scaiqueue.queueing.refusals import of_exception

PROTOCOL_ERROR = "BrokerProtocolError"
"""The tag of what is no call at all."""

_CONNECT_CODES = {
    400: "invalid_argument",
    401: "unauthenticated",
    403: "permission_denied",
    404: "not_found",
    409: "aborted",
    429: "resource_exhausted",
    500: "internal",
    503: "unavailable",
}
_log = structlog.get_logger("scaiqueue.osqueue")


class Tagged(msgspec.Struct):
    """`tag` is the code of an error, or PROTOCOL_ERROR."""

    tag: str = msgspec.field(name="_tag")
    message: str


class Coded(msgspec.Struct):
    """Of Connect."""

    code: str
    message: str


def known(error: Exception) -> QueueError:
    """The error of the registry for whatever went wrong; a fault of ours is logged with its trace."""
    if isinstance(error, QueueError):
        found = error
    elif (converted := of_exception(error)) is not None:
        found = converted
        _log.warning("call refused", code=found.code.name, error=f"{type(error).__name__}: {error}")
    else:
        found = QueueError(Code.SCAIQUEUE_INTERNAL)
        _log.error("unhandled fault", exc_info=error)
    metrics.refused_total.labels(found.code.name).inc()
    return found


def status_of(error: QueueError) -> int:
    """As the API answers it, but 400 for what is not valid: osqueue has no 422."""
    return 400 if error.code.status == 422 else error.code.status


def text_of(error: QueueError) -> str:
    """The message, and what is wrong with each field; a state is in the message already."""
    details = [f"{detail.field}: {detail.message}" for detail in error.details if detail.field != "state"]
    return " ".join([error.message, "; ".join(details)]) if details else error.message


def tagged(error: QueueError) -> Tagged:
    return Tagged(error.code.name, text_of(error))


def coded(error: QueueError) -> tuple[int, Coded]:
    """With the status that Connect has for the code."""
    status = 400 if error.code.status == 413 else status_of(error)
    return status, Coded(_CONNECT_CODES[status], text_of(error))


def headers_of(error: QueueError) -> dict[str, str]:
    """What goes with it over HTTP."""
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    if error.code.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers
