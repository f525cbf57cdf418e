"""The OpenAPI 3.1 document, made from the endpoints, their types and the error registry."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from scaiqueue import __version__
from scaiqueue.api.answers import ListMeta, Meta
from scaiqueue.api.endpoint import Endpoint
from scaiqueue.api.examples import EXAMPLES
from scaiqueue.api.failures import ErrorAnswer
from scaiqueue.errors import Code
from scaiqueue.services import Readiness

_REF = "#/components/schemas/{name}"
_placeholder = re.compile(r"\{(\w+)\}")

_ANYWHERE = (
    Code.AUTH_TOKEN_MISSING,
    Code.AUTH_TOKEN_INVALID,
    Code.AUTHZ_PERMISSION_DENIED,
    Code.RATE_LIMITED,
    Code.SCAIQUEUE_UNAVAILABLE,
)
_BY_PLACEHOLDER = {
    "scope": Code.SCAIQUEUE_SCOPE_NOT_FOUND,
    "queue": Code.SCAIQUEUE_QUEUE_NOT_FOUND,
    "message": Code.SCAIQUEUE_MESSAGE_NOT_FOUND,
    "schema": Code.SCAIQUEUE_SCHEMA_NOT_FOUND,
    "pattern": Code.SCAIQUEUE_PATTERN_NOT_FOUND,
    "rule": Code.SCAIQUEUE_RULE_NOT_FOUND,
    "stream": Code.SCAIQUEUE_STREAM_NOT_FOUND,
    "subscription": Code.SCAIQUEUE_SUBSCRIPTION_NOT_FOUND,
    "grant": Code.SCAIQUEUE_GRANT_NOT_FOUND,
    "trust": Code.SCAIQUEUE_TRUST_NOT_FOUND,
    "job": Code.SCAIQUEUE_JOB_NOT_FOUND,
    "key": Code.SCAIQUEUE_KEY_NOT_FOUND,
    "erasure": Code.SCAIQUEUE_ERASURE_NOT_FOUND,
    "agent": Code.SCAIQUEUE_AGENT_NOT_FOUND,
    "webhook": Code.SCAIQUEUE_WEBHOOK_NOT_FOUND,
    "delivery": Code.SCAIQUEUE_DELIVERY_NOT_FOUND,
}
_PLACEHOLDERS = {
    "scope": "Id or slug of a scope.",
    "queue": "Id or slug of a queue.",
    "message": "Id of a message.",
    "correlation_id": "A correlation id.",
    "schema": "`name@version`, a name alone for its highest version, or an id.",
    "pattern": "`name@version`, a name alone for its highest version, or an id.",
    "rule": "Id or name of a routing rule.",
    "stream": "Id of a stream.",
    "subscription": "Id or name of a subscription.",
    "idempotency_key": "An idempotency key.",
    "grant": "Id of a grant.",
    "trust": "Id of a trust.",
    "job": "Id of a job.",
    "key": "Id of an API key.",
    "erasure": "Id of an erasure.",
    "agent": "Name of a system agent.",
    "webhook": "Id of a webhook.",
    "delivery": "Id of a delivery of the webhook.",
}


def errors_of(endpoint: Endpoint) -> list[Code]:
    """Every code that the endpoint may answer, once each."""
    codes = [*_ANYWHERE, *endpoint.errors]
    named = _placeholder.findall(endpoint.path)
    codes += [_BY_PLACEHOLDER[name] for name in named if name in _BY_PLACEHOLDER]
    if endpoint.body is not None:
        codes += [Code.MALFORMED_JSON, Code.VALIDATION_ERROR, Code.SCAIQUEUE_MESSAGE_TOO_LARGE]
    if endpoint.query is not None or endpoint.parameters:
        codes.append(Code.VALIDATION_ERROR)
    return list(dict.fromkeys(codes))


def _error_example(code: Code) -> dict[str, Any]:
    error: dict[str, Any] = {
        "code": code.name,
        "message": code.value.advice,
        "retryable": code.retryable,
    }
    if code.status in (429, 503):
        error["retry_after"] = 1
    if code.status == 422:
        error["details"] = [{"field": "slug", "message": "Required field is missing"}]
    return {"status": "error", "error": error, "meta": {"request_id": "01939d2e-6f0c-7d52-b8c6-7a2f6c1f0a11"}}


def _error_responses(codes: Iterable[Code]) -> dict[str, Any]:
    by_status: dict[int, list[Code]] = {}
    for code in codes:
        by_status.setdefault(code.status, []).append(code)
    return {
        str(status): {
            "description": "\n".join(f"- `{code.name}`: {code.value.advice}" for code in listed),
            "headers": {"X-Request-Id": {"schema": {"type": "string"}}},
            "content": {
                "application/json": {
                    "schema": {"$ref": _REF.format(name="ErrorAnswer")},
                    "examples": {code.name: {"value": _error_example(code)} for code in listed},
                },
                "application/problem+json": {"schema": {"$ref": _REF.format(name="Problem")}},
            },
        }
        for status, listed in sorted(by_status.items())
    }


class _Schemas:
    """Component schemas of all the types that the endpoints name."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        types: list[Any] = [Meta, ListMeta, ErrorAnswer, Readiness]
        for endpoint in endpoints:
            types += [kind for kind in (endpoint.body, endpoint.answer) if kind is not None]
            if endpoint.query is not None:
                types += [field.type for field in msgspec.structs.fields(endpoint.query)]
            types += [parameter.kind for parameter in endpoint.parameters]
        schemas, self.components = msgspec.json.schema_components(types, ref_template=_REF)
        self._of = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
        self._types = types
        for name, example in EXAMPLES.items():
            self.components[name]["examples"] = [example]

    def of(self, kind: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._of[id(kind)]
        return found

    def answer(self, endpoint: Endpoint) -> dict[str, Any]:
        data = self.of(endpoint.answer)
        meta = _REF.format(name="ListMeta" if endpoint.many else "Meta")
        return {
            "type": "object",
            "properties": {
                "data": {"type": "array", "items": data} if endpoint.many else data,
                "meta": {"$ref": meta},
            },
            "required": ["data", "meta"],
        }


def _given(schema: dict[str, Any]) -> dict[str, Any]:
    """A query parameter is absent rather than null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        return {**kinds[0], **{name: value for name, value in schema.items() if name != "anyOf"}}
    return dict(schema)


def _parameters(endpoint: Endpoint, schemas: _Schemas) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PLACEHOLDERS[name],
            "schema": {"type": "string", "minLength": 1},
        }
        for name in _placeholder.findall(endpoint.path)
    ]
    if endpoint.query is not None:
        for field in msgspec.structs.fields(endpoint.query):
            schema = _given(schemas.of(field.type))
            if field.default is not msgspec.NODEFAULT and field.default is not None:
                schema["default"] = field.default
            described = {"description": schema["description"]} if "description" in schema else {}
            found.append(
                {"name": field.encode_name, "in": "query", "required": False, **described, "schema": schema}
            )
    for parameter in endpoint.parameters:
        found.append(
            {
                "name": parameter.name,
                "in": parameter.place,
                "required": False,
                "description": parameter.description,
                "schema": {"type": "string", "minLength": 1, "maxLength": 256},
            }
        )
    return found


def _operation(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    is_json = endpoint.produces == "application/json"
    success = {
        endpoint.produces: {"schema": schemas.answer(endpoint) if is_json else schemas.of(endpoint.answer)},
    }
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "description": endpoint.description,
        "security": [{"key": [endpoint.permission.value]}] if endpoint.permission else [],
        "parameters": _parameters(endpoint, schemas),
        "responses": {
            str(endpoint.status): {"description": endpoint.summary, "content": success},
            **{
                str(status): {"description": text, "content": success}
                for status, text in endpoint.other_statuses.items()
            },
            **_error_responses(errors_of(endpoint)),
        },
    }
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": not endpoint.body_optional,
            "content": {
                kind: {"schema": schemas.of(endpoint.body) if kind == "application/json" else {}}
                for kind in endpoint.media_types
            },
        }
    return operation


def _plain(summary: str, kind: str, schema: dict[str, Any], **others: str) -> dict[str, Any]:
    content = {kind: {"schema": schema}}
    return {
        "get": {
            "tags": ["Health"],
            "summary": summary,
            "security": [],
            "responses": {
                "200": {"description": summary, "content": content},
                **{status: {"description": text, "content": content} for status, text in others.items()},
            },
        }
    }


PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "The same error as RFC 9457, for `Accept: application/problem+json`.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "code": {"type": "string"},
        "retryable": {"type": "boolean"},
        "retry_after": {"type": "number"},
        "request_id": {"type": "string"},
    },
    "required": ["title", "status", "detail", "code", "retryable", "request_id"],
}


def openapi_document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The whole document, ready to be encoded as JSON."""
    schemas = _Schemas(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.full_path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    readiness = {"$ref": _REF.format(name="Readiness")}
    paths["/healthz"] = _plain("The process answers", "application/json", {"type": "object"})
    paths["/readyz"] = _plain(
        "Calls can be served", "application/json", readiness, **{"503": "They can't: `failures` says why"}
    )
    paths["/metrics"] = _plain("Metrics for Prometheus", "text/plain", {"type": "string"})
    components = {**schemas.components, "Problem": PROBLEM}
    components["ErrorCode"] = {"type": "string", "enum": [code.name for code in Code]}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ScaiQueue",
            "version": __version__,
            "description": "A durable work queue. Times are RFC 3339 UTC, ids are UUIDs; a scope or queue "
            "is named by its id or its slug.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key, `sgk_…`."}
            },
        },
    }
