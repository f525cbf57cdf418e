"""From a call to its entry in the audit: when its answer is decided, before it is sent."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from litestar.exceptions import HTTPException

from scaiqueue.api.failures import from_http
from scaiqueue.api.tracking import request_id_of
from scaiqueue.audit import metrics
from scaiqueue.audit.entry import OK, Entry
from scaiqueue.audit.trail import Trail
from scaiqueue.errors import Code, QueueError
from scaiqueue.moments import now_ms
from scaiqueue.queueing.principals import Principal
from scaiqueue.queueing.refusals import of_exception

if TYPE_CHECKING:
    from scaiqueue.api.endpoint import Asked, Call

RETRY_AFTER_S = 1.0
GONE = "CALLER_GONE"
CANCELLED = "CANCELLED"
_NO_STATUS = 0
_uuid = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_reference = re.compile(r"[a-z0-9_-]{1,63}")


class CallerGone(Exception):
    """The caller hung up before the whole request was here."""


def require_room(trail: Trail) -> None:
    """Raises SCAIQUEUE_UNAVAILABLE where the call could not be recorded."""
    if trail.full:
        metrics.turned_away_total.inc()
        raise QueueError(
            Code.SCAIQUEUE_UNAVAILABLE,
            "The audit can't be written: nothing was done. Wait until the row store is back.",
            retry_after=RETRY_AFTER_S,
        )


def answered(trail: Trail, event: str, call: Call, status: int) -> None:
    principal = call.principal
    trail.add(
        principal.tenant,
        call.scope_id,
        Entry(
            event,
            now_ms(),
            principal.key_id,
            _address(call.request),
            call.request_id,
            call.queue_slug,
            status,
            OK,
            call.message_ids,
            call.refused_items,
        ),
    )


def refused(
    trail: Trail,
    event: str,
    request: Asked,
    principal: Principal | None,
    call: Call | None,
    error: BaseException,
) -> None:
    """However a call ended without an answer of its own; `principal` None: no good key."""
    status, outcome = _outcome(error)
    entry = Entry(
        event,
        now_ms(),
        principal.key_id if principal else "",
        _address(request),
        request_id_of(request.scope),
        call.queue_slug if call else "",
        status,
        outcome,
        call.message_ids if call else "",
    )
    named = str(request.path_params.get("scope_ref", "")).removeprefix("/")
    if principal is None:
        trail.add_stranger(named if _uuid.fullmatch(named) else "", entry)
    elif call is not None and call.scope_id:
        trail.add(principal.tenant, call.scope_id, entry)
    else:
        trail.add_refused(principal.tenant, named if _reference.fullmatch(named) else "", entry)


def _outcome(error: BaseException) -> tuple[int, str]:
    if isinstance(error, HTTPException):
        error = from_http(error)
    elif isinstance(error, CallerGone):
        return _NO_STATUS, GONE
    elif isinstance(error, asyncio.CancelledError):
        return _NO_STATUS, CANCELLED
    elif isinstance(error, Exception) and not isinstance(error, QueueError):
        error = of_exception(error) or QueueError(Code.SCAIQUEUE_INTERNAL)
    code = error.code if isinstance(error, QueueError) else Code.SCAIQUEUE_INTERNAL
    return code.status, code.name


def _address(request: Asked) -> str:
    client = request.scope.get("client")
    return str(client[0]) if client else ""
