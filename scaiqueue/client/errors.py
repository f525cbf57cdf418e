"""What can go wrong with a call.

ClientError
├── Unreachable     no answer of the queue's, after all attempts
├── Refused         an answer that is an error: `code` is one of the registry's
│   └── LeaseLost   another holder has the message, or its lease ended
└── PayloadError    a payload does not fit the type of its job
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class ClientError(Exception):
    """`retryable`: the same call may succeed later."""

    retryable = False
    retry_after: float | None = None


class Unreachable(ClientError):
    """Nothing that the queue said: a publish may have happened, and its idempotency key finds it."""

    retryable = True

    def __init__(self, message: str, retry_after: str | None = None) -> None:
        super().__init__(message)
        if retry_after is not None and retry_after.isdecimal():
            self.retry_after = float(retry_after)


class PayloadError(ClientError):
    """The payload does not fit; the message says where."""


class Detail(NamedTuple):
    field: str
    message: str


class Refused(ClientError):
    """`str()` of it is the code, what was wrong, and each field that was."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        retry_after: float | None = None,
        details: tuple[Detail, ...] = (),
        request_id: str = "",
    ) -> None:
        where = "".join(f"; {detail.field}: {detail.message}" for detail in details)
        super().__init__(f"{code}: {message}{where}")
        self.code, self.message, self.details, self.request_id = code, message, details, request_id
        self.retryable = retryable
        self.retry_after = retry_after


class LeaseLost(Refused):
    """Drop the work: somebody else has the message, or will have it."""


class ErrorBody(msgspec.Struct):
    """An error as it travels, of a call or of one item."""

    code: str
    message: str
    retryable: bool = False
    retry_after: float | None = None
    details: list[dict[str, str]] | None = None


class _Meta(msgspec.Struct):
    request_id: str = ""


class _ErrorAnswer(msgspec.Struct):
    error: ErrorBody
    meta: _Meta = msgspec.field(default_factory=_Meta)


_error_answer = msgspec.json.Decoder(_ErrorAnswer)


def of_body(body: ErrorBody, request_id: str = "") -> Refused:
    """The exception for an error of a call or of an item."""
    kind = LeaseLost if body.code == "SCAIQUEUE_CLAIM_LOST" else Refused
    return kind(
        body.code,
        body.message,
        retryable=body.retryable,
        retry_after=body.retry_after,
        details=tuple(Detail(one.get("field", ""), one.get("message", "")) for one in body.details or ()),
        request_id=request_id,
    )


def of_answer(status: int, content: bytes, retry_after: str | None = None) -> ClientError:
    """The exception for a status of 400 or above; a gateway's own page is no answer of the queue's."""
    try:
        answer = _error_answer.decode(content)
    except msgspec.DecodeError:
        text = content[:200].decode(errors="replace")
        if status >= 500 or status in (408, 429):
            return Unreachable(f"status {status}, not from the queue: {text}", retry_after)
        return Refused(f"HTTP_{status}", text)
    return of_body(answer.error, answer.meta.request_id)
