"""The error registry: every code, its status, whether a retry helps, and what the caller should do."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class ErrorSpec(NamedTuple):
    status: int
    retryable: bool
    advice: str


class Code(Enum):
    """Codes are stable: clients branch on them. OpenAPI and the docs' error page are made from this."""

    AUTH_TOKEN_MISSING = ErrorSpec(401, False, "Send `Authorization: Bearer sgk_…`.")
    AUTH_TOKEN_INVALID = ErrorSpec(401, False, "The key is unknown, revoked or expired: use another.")
    AUTHZ_PERMISSION_DENIED = ErrorSpec(
        403, False, "The key lacks a permission, or a limit or an ACL is in its way: `details` says which."
    )
    NOT_FOUND = ErrorSpec(404, False, "No such path: see /openapi.json.")
    METHOD_NOT_ALLOWED = ErrorSpec(405, False, "The path exists, the method does not: see /openapi.json.")
    VALIDATION_ERROR = ErrorSpec(422, False, "Correct the fields named in `details`.")
    MALFORMED_JSON = ErrorSpec(400, False, "The request's body is not JSON.")
    SLUG_CONFLICT = ErrorSpec(409, False, "Choose another slug.")
    RATE_LIMITED = ErrorSpec(429, True, "Wait `retry_after` seconds.")
    SCAIQUEUE_SCOPE_PAUSED = ErrorSpec(409, True, "The scope is paused or archived: resume it, or wait.")
    SCAIQUEUE_QUEUE_PAUSED = ErrorSpec(
        409, True, "The queue is paused, draining or archived: `details` says which."
    )
    SCAIQUEUE_QUEUE_FULL = ErrorSpec(429, True, "`max_depth` is reached: wait until consumers catch up.")
    SCAIQUEUE_IDEMPOTENCY_CONFLICT = ErrorSpec(
        409, False, "The key was used with another body: use a new key."
    )
    SCAIQUEUE_SCOPE_NOT_FOUND = ErrorSpec(404, False, "No such scope in this tenant.")
    SCAIQUEUE_QUEUE_NOT_FOUND = ErrorSpec(404, False, "No such queue in this scope.")
    SCAIQUEUE_MESSAGE_NOT_FOUND = ErrorSpec(404, False, "No such message in this scope.")
    SCAIQUEUE_SCHEMA_NOT_FOUND = ErrorSpec(404, False, "No such schema, or no such version, in this scope.")
    SCAIQUEUE_PATTERN_NOT_FOUND = ErrorSpec(404, False, "No such pattern, or no such version, in this scope.")
    SCAIQUEUE_SUBSCRIPTION_NOT_FOUND = ErrorSpec(404, False, "No such subscription of this queue.")
    SCAIQUEUE_JOB_NOT_FOUND = ErrorSpec(404, False, "No such job in this scope.")
    SCAIQUEUE_ERASURE_NOT_FOUND = ErrorSpec(404, False, "No such erasure in this tenant.")
    SCAIQUEUE_GRANT_NOT_FOUND = ErrorSpec(404, False, "No such grant in this scope.")
    SCAIQUEUE_TRUST_NOT_FOUND = ErrorSpec(404, False, "No such trust of this scope.")
    SCAIQUEUE_RULE_NOT_FOUND = ErrorSpec(404, False, "No such routing rule in this scope.")
    SCAIQUEUE_STREAM_NOT_FOUND = ErrorSpec(404, False, "No such stream in this scope, or no longer.")
    SCAIQUEUE_KEY_NOT_FOUND = ErrorSpec(404, False, "No such API key in this tenant.")
    SCAIQUEUE_AGENT_NOT_FOUND = ErrorSpec(404, False, "No such system agent: see GET /system-agents.")
    SCAIQUEUE_WEBHOOK_NOT_FOUND = ErrorSpec(404, False, "No such webhook in this tenant.")
    SCAIQUEUE_DELIVERY_NOT_FOUND = ErrorSpec(404, False, "No such delivery of this webhook.")
    SCAIQUEUE_EVENTS_GONE = ErrorSpec(
        410, False, "Events are no longer kept from there on: read the present state, then listen anew."
    )
    SCAIQUEUE_CLAIM_LOST = ErrorSpec(
        409, False, "Another claim holds the message, or the lease ended: drop the work."
    )
    SCAIQUEUE_INVALID_STATE = ErrorSpec(
        409, False, "The message's state does not allow this: `details` names it."
    )
    SCAIQUEUE_SCHEMA_VALIDATION_FAILED = ErrorSpec(
        422, False, "The body does not fit its schema: `details` names each field."
    )
    SCAIQUEUE_HITL_INVALID_DECISION = ErrorSpec(
        422, False, "The decision does not fit the message's `hitl_spec`: `details` names each field."
    )
    SCAIQUEUE_CHUNK_CONFLICT = ErrorSpec(
        409, False, "The stream has another chunk there, or its last one before: send what belongs there."
    )
    SCAIQUEUE_STREAM_INCOMPLETE = ErrorSpec(
        409, False, "Chunks are missing: send those that `details` names, then close it again."
    )
    SCAIQUEUE_STREAM_FULL = ErrorSpec(
        413, False, "The stream takes no more: close it, and go on in another one."
    )
    SCAIQUEUE_INVALID_RULE = ErrorSpec(422, False, "Correct the places of the rule that `details` names.")
    SCAIQUEUE_NOT_EMPTY = ErrorSpec(
        409, False, "Live messages remain: drain or purge first, or use `force=true`."
    )
    SCAIQUEUE_SYSTEM_QUEUE_READONLY = ErrorSpec(
        403,
        False,
        "Queues of the system and of subscriptions can't be published into or deleted.",
    )
    SCAIQUEUE_MESSAGE_TOO_LARGE = ErrorSpec(
        413, False, "Store the content elsewhere and publish a reference."
    )
    SCAIQUEUE_MEMORY_FULL = ErrorSpec(429, True, "Redis is at its memory limit: wait `retry_after` seconds.")
    SCAIQUEUE_BACKLOG_FULL = ErrorSpec(503, True, "The row store is behind: wait `retry_after` seconds.")
    SCAIQUEUE_UNAVAILABLE = ErrorSpec(
        503, True, "Wait `retry_after` seconds; a publish may exist: repeat it with its idempotency key."
    )
    SCAIQUEUE_INTERNAL = ErrorSpec(500, True, "A fault of ours: report it with the request id.")

    @property
    def status(self) -> int:
        return self.value.status

    @property
    def retryable(self) -> bool:
        return self.value.retryable


class Detail(NamedTuple):
    field: str
    message: str


class QueueError(Exception):
    """An answer that is an error: a code of the registry, a text for a person, and details."""

    def __init__(
        self,
        code: Code,
        message: str = "",
        *,
        details: tuple[Detail, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message or code.value.advice)
        self.code = code
        self.message = message or code.value.advice
        self.details = details
        self.retry_after = retry_after
