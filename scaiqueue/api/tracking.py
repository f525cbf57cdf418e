"""Request ids: taken or made, on every answer and every log line."""

from __future__ import annotations

import logging
import re
import time
from contextvars import ContextVar
from typing import Any

import structlog
from litestar.types import Message, Scope
from structlog.typing import EventDict
from uuid_utils import uuid7

_acceptable = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_current: ContextVar[str] = ContextVar("request_id")
_root = logging.getLogger()
_log = structlog.get_logger("scaiqueue.access")


def begin(scope: Scope, given: bytes | None) -> str:
    """A request's id: the caller's `X-Request-Id` if it is harmless, or a new one."""
    text = given.decode("latin-1") if given is not None else ""
    request_id = text if text and _acceptable.fullmatch(text) else str(uuid7())
    state: dict[str, Any] = scope["state"]
    state["request_id"] = request_id
    state["began"] = time.perf_counter()
    _current.set(request_id)
    return request_id


def request_id_of(scope: Scope) -> str:
    """The same for one request always."""
    found: str | None = scope["state"].get("request_id")
    if found is None:
        headers = dict(reversed([*scope["headers"]]))
        return begin(scope, headers.get(b"x-request-id"))
    return found


def add_request_id(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """For structlog: the id of the request that causes the line."""
    request_id = _current.get(None)
    if request_id is not None:
        event.setdefault("request_id", request_id)
    return event


async def before_send(message: Message, scope: Scope) -> None:
    """Litestar's hook for each part of each answer, those of its router too."""
    if message["type"] == "http.response.start":
        request_id = request_id_of(scope)
        message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
        told(scope, message["status"])


def told(scope: Scope, status: int) -> None:
    """A line for people who debug."""
    if not _root.isEnabledFor(logging.DEBUG):
        return
    _log.debug(
        "answered",
        method=scope.get("method", ""),
        path=scope.get("raw_path", b"").decode("latin-1"),
        status=status,
        ms=round((time.perf_counter() - scope["state"]["began"]) * 1000, 2),
    )
