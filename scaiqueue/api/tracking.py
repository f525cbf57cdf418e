"""Request ids: taken or made, on every answer and every log line."""

from __future__ import annotations

import re
import time
from typing import Any

import structlog
from litestar.types import Message, Scope
from uuid_utils import uuid7

_acceptable = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_log = structlog.get_logger("scaiqueue.access")


def request_id_of(scope: Scope) -> str:
    """The caller's `X-Request-Id` if it is harmless, or a new one; the same for one request always."""
    state: dict[str, Any] = scope["state"]
    found: str | None = state.get("request_id")
    if found is None:
        found = _given(scope) or str(uuid7())
        state["request_id"] = found
        state["began"] = time.perf_counter()
        structlog.contextvars.bind_contextvars(request_id=found)
    return found


def _given(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text = value.decode("latin-1")
            return text if _acceptable.fullmatch(text) else ""
    return ""


async def before_send(message: Message, scope: Scope) -> None:
    """Litestar's hook for each part of each answer, those of its router too."""
    if message["type"] != "http.response.start":
        return
    request_id = request_id_of(scope)
    message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode("latin-1"))]
    _log.debug(
        "answered",
        method=scope.get("method", ""),
        path=scope.get("raw_path", b"").decode("latin-1"),
        status=message["status"],
        ms=round((time.perf_counter() - scope["state"]["began"]) * 1000, 2),
    )
