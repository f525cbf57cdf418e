"""Every error, the router's too, in the house envelope or as RFC 9457 problem details."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import (
    ClientException,
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
)
from litestar.plugins.problem_details import ProblemDetailsException

from scaiqueue.api.answers import Meta, json_response
from scaiqueue.api.tracking import request_id_of
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.queueing import metrics
from scaiqueue.queueing.refusals import of_exception

_log = structlog.get_logger("scaiqueue.api")


class ErrorDetail(msgspec.Struct):
    field: str
    message: str


class ErrorBody(msgspec.Struct, omit_defaults=True):
    """One error. Clients branch on `code`; `retryable` says whether the same call may succeed later."""

    code: str
    message: str
    retryable: bool | None = None
    retry_after: float | None = None
    details: list[ErrorDetail] | None = None


class ErrorAnswer(msgspec.Struct):
    status: str
    error: ErrorBody
    meta: Meta


def error_body(error: QueueError) -> ErrorBody:
    return ErrorBody(
        code=error.code.name,
        message=error.message,
        retryable=error.code.retryable,
        retry_after=error.retry_after,
        details=[ErrorDetail(*detail) for detail in error.details] or None,
    )


def error_response(request: Request[Any, Any, Any], error: QueueError) -> Response[Any]:
    headers: dict[str, str] = {**request.scope["state"].get("rate", {})}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if error.code.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    metrics.refused_total.labels(error.code.name).inc()
    body = error_body(error)
    request_id = request_id_of(request.scope)
    if "application/problem+json" in request.headers.get("accept", ""):
        return _problem(request, error, body, request_id, headers)
    return json_response(ErrorAnswer("error", body, Meta(request_id)), error.code.status, headers)


def _problem(
    request: Request[Any, Any, Any],
    error: QueueError,
    body: ErrorBody,
    request_id: str,
    headers: dict[str, str],
) -> Response[Any]:
    extra = {name: value for name, value in msgspec.to_builtins(body).items() if name != "message"}
    return ProblemDetailsException(
        detail=error.message,
        status_code=error.code.status,
        type_=f"/docs/errors#{error.code.name}",
        title=error.code.name,
        instance=request.url.path,
        headers=headers,
        extra={**extra, "request_id": request_id},
    ).to_response(request)


def from_http(error: HTTPException) -> QueueError:
    match error:
        case NotFoundException():
            return QueueError(Code.NOT_FOUND)
        case MethodNotAllowedException():
            return QueueError(Code.METHOD_NOT_ALLOWED)
        case _ if error.status_code == 413:
            return QueueError(
                Code.SCAIQUEUE_MESSAGE_TOO_LARGE, "The request is larger than a request may be."
            )
        case ClientException():
            return QueueError(
                Code.VALIDATION_ERROR, "Not valid: request.", details=(Detail("request", error.detail),)
            )
    return QueueError(Code.SCAIQUEUE_INTERNAL)


def on_queue_error(request: Request[Any, Any, Any], error: QueueError) -> Response[Any]:
    return error_response(request, error)


def on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    response = error_response(request, converted := from_http(error))
    if converted.code is Code.SCAIQUEUE_INTERNAL:
        _log.error("unexpected answer of the framework", detail=error.detail, status=error.status_code)
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response


def on_fault(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """A server's failure, or one of ours: that is logged with its trace and answered without one."""
    if (known := of_exception(error)) is not None:
        _log.warning("call refused", code=known.code.name, error=f"{type(error).__name__}: {error}")
        return error_response(request, known)
    _log.error("unhandled fault", path=request.url.path, method=request.method, exc_info=error)
    return error_response(request, QueueError(Code.SCAIQUEUE_INTERNAL))
