"""What each endpoint asks of a key. An endpoint that is not listed here can't be registered."""

from __future__ import annotations

from enum import Enum


class Permission(Enum):
    """The four permissions of a key, as they are written."""

    view = "scaiqueue:view"
    publish = "scaiqueue:publish"
    consume = "scaiqueue:consume"
    manage = "scaiqueue:manage"


ALL_PERMISSIONS = tuple(permission.value for permission in Permission)

_V, _P, _C, _M = Permission.view, Permission.publish, Permission.consume, Permission.manage

PERMISSIONS: dict[str, Permission] = {
    "POST /scopes": _M,
    "GET /scopes": _V,
    "GET /scopes/{scope}": _V,
    "PATCH /scopes/{scope}": _M,
    "DELETE /scopes/{scope}": _M,
    "POST /scopes/{scope}/pause": _M,
    "POST /scopes/{scope}/resume": _M,
    "POST /scopes/{scope}/archive": _M,
    "POST /scopes/{scope}/unarchive": _M,
    "POST /scopes/{scope}/queues": _M,
    "GET /scopes/{scope}/queues": _V,
    "GET /scopes/{scope}/queues/{queue}": _V,
    "PATCH /scopes/{scope}/queues/{queue}": _M,
    "DELETE /scopes/{scope}/queues/{queue}": _M,
    "POST /scopes/{scope}/queues/{queue}/pause": _M,
    "POST /scopes/{scope}/queues/{queue}/resume": _M,
    "POST /scopes/{scope}/queues/{queue}/drain": _M,
    "POST /scopes/{scope}/queues/{queue}/archive": _M,
    "POST /scopes/{scope}/queues/{queue}/unarchive": _M,
    "POST /scopes/{scope}/queues/{queue}/purge": _M,
    "GET /scopes/{scope}/queues/{queue}/stats": _V,
    "POST /scopes/{scope}/queues/{queue}/messages": _P,
    "POST /scopes/{scope}/queues/{queue}/messages/batch": _P,
    "POST /scopes/{scope}/queues/{queue}/messages/claim": _C,
    "POST /scopes/{scope}/messages/claim": _C,
    "POST /scopes/{scope}/messages/{message}/complete": _C,
    "POST /scopes/{scope}/messages/{message}/fail": _C,
    "POST /scopes/{scope}/messages/{message}/release": _C,
    "POST /scopes/{scope}/messages/{message}/extend": _C,
    "POST /scopes/{scope}/messages/complete": _C,
    "POST /scopes/{scope}/messages/fail": _C,
    "POST /scopes/{scope}/messages/release": _C,
    "POST /scopes/{scope}/messages/extend": _C,
    "POST /scopes/{scope}/messages/{message}/cancel": _P,
    "GET /scopes/{scope}/messages/{message}": _V,
    "GET /scopes/{scope}/messages/{message}/history": _V,
    "GET /scopes/{scope}/messages": _V,
    "GET /scopes/{scope}/audit": _V,
    "GET /audit": _M,
    "GET /scopes/{scope}/audit/trace/{correlation_id}": _V,
    "POST /scopes/{scope}/routing-rules": _M,
    "GET /scopes/{scope}/routing-rules": _V,
    "GET /scopes/{scope}/routing-rules/{rule}": _V,
    "PATCH /scopes/{scope}/routing-rules/{rule}": _M,
    "DELETE /scopes/{scope}/routing-rules/{rule}": _M,
    "POST /scopes/{scope}/routing-rules/evaluate": _V,
    "POST /scopes/{scope}/routing-rules/{rule}/enable": _M,
    "POST /scopes/{scope}/routing-rules/{rule}/disable": _M,
    "POST /scopes/{scope}/routing-rules/{rule}/reset-breaker": _M,
    "POST /scopes/{scope}/dead-letter/redrive": _M,
    "GET /scopes/{scope}/jobs": _V,
    "GET /scopes/{scope}/jobs/{job}": _V,
    "POST /scopes/{scope}/jobs/{job}/cancel": _M,
    "POST /scopes/{scope}/schemas": _M,
    "GET /scopes/{scope}/schemas": _V,
    "GET /scopes/{scope}/schemas/{schema}": _V,
    "DELETE /scopes/{scope}/schemas/{schema}": _M,
    "POST /scopes/{scope}/schemas/{schema}/validate": _V,
    "POST /scopes/{scope}/hitl-patterns": _M,
    "GET /scopes/{scope}/hitl-patterns": _V,
    "GET /scopes/{scope}/hitl-patterns/{pattern}": _V,
    "DELETE /scopes/{scope}/hitl-patterns/{pattern}": _M,
    "POST /scopes/{scope}/hitl-patterns/{pattern}/expand": _V,
    "GET /scopes/{scope}/reviews": _V,
    "POST /scopes/{scope}/messages/{message}/decision": _C,
    "POST /gdpr/erasures": _M,
    "GET /gdpr/erasures": _M,
    "GET /gdpr/erasures/{erasure}": _M,
    "POST /gdpr/erasures/{erasure}/cancel": _M,
    "POST /scopes/{scope}/streams": _P,
    "GET /scopes/{scope}/streams": _V,
    "GET /scopes/{scope}/streams/{stream}": _V,
    "POST /scopes/{scope}/streams/{stream}/chunks": _P,
    "GET /scopes/{scope}/streams/{stream}/chunks": _V,
    "GET /scopes/{scope}/streams/{stream}/assembled": _V,
    "POST /scopes/{scope}/streams/{stream}/close": _P,
    "POST /scopes/{scope}/streams/{stream}/abort": _P,
    "POST /api-keys": _M,
    "GET /api-keys": _M,
    "GET /api-keys/{key}": _M,
    "POST /api-keys/{key}/rotate": _M,
    "POST /api-keys/{key}/revoke": _M,
    "GET /scripts": _V,
    "GET /system-agents": _V,
    "POST /system-agents/{agent}/run": _M,
}
