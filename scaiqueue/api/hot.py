"""The hot endpoints, answered before Litestar's routing and request objects.

An endpoint marked `hot` keeps its one definition: the same handler, authentication, permission, errors,
metrics and OpenAPI entry. Only what the framework does around a call is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from litestar import Litestar, Request, Response
from litestar.datastructures import MultiDict
from litestar.enums import ScopeType
from litestar.plugins.prometheus import PrometheusConfig, PrometheusMiddleware
from litestar.types import Receive, Scope, Send

from scaiqueue.api import failures
from scaiqueue.api.answers import Rendered
from scaiqueue.api.auditing import CallerGone
from scaiqueue.api.endpoint import BASE, Endpoint
from scaiqueue.api.tracking import before_send, begin, told
from scaiqueue.errors import Code, QueueError
from scaiqueue.services import Services

_ANY = ""
_MAX_FOUND, _KEPT_PATH = 10_000, 256
_CONTENT_TYPE = (b"content-type", b"application/json")
# Nobody reads this status but the metrics; the number is nginx's for the same.
_CALLER_GONE = 499
_Found = tuple[Endpoint, dict[str, str]]


class HotHeaders:
    """Look-up in the raw headers; the first of a name counts."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._raw = dict(reversed([*raw]))

    def raw(self, name: bytes) -> bytes | None:
        return self._raw.get(name)

    def get(self, name: str, default: str | None = None) -> str | None:
        value = self._raw.get(name.encode())
        return default if value is None else value.decode("latin-1")


class HotRequest:
    """What endpoints use of a request."""

    __slots__ = ("_limit", "headers", "path_params", "receive", "scope")

    def __init__(
        self, scope: Scope, receive: Receive, headers: HotHeaders, path_params: dict[str, str], limit: int
    ) -> None:
        self.scope = scope
        self.receive = receive
        self.headers = headers
        self.path_params = path_params
        self._limit = limit

    @property
    def query_params(self) -> MultiDict[str]:
        return Request[Any, Any, Any](self.scope).query_params

    async def body(self) -> bytes:
        """Raises SCAIQUEUE_MESSAGE_TOO_LARGE for more bytes than a request may have, CallerGone where the
        request broke off: half a request must not pass for one without a body."""
        parts: list[bytes] = []
        size = 0
        while True:
            message: Any = await self.receive()
            if message["type"] == "http.disconnect":
                raise CallerGone
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > self._limit:
                raise QueueError(
                    Code.SCAIQUEUE_MESSAGE_TOO_LARGE, "The request is larger than a request may be."
                )
            if not message.get("more_body"):
                return b"".join((*parts, part)) if parts else part
            parts.append(part)


class _Node:
    """A step of a path: what may follow, and the endpoint that ends here by method."""

    __slots__ = ("ends", "name", "next")

    def __init__(self) -> None:
        self.next: dict[str, _Node] = {}
        self.name = ""
        self.ends: dict[str, Endpoint] = {}


class _Meters:
    """The collectors of Litestar's Prometheus plugin, their labels bound once per endpoint and status."""

    def __init__(self, app: Litestar, config: PrometheusConfig) -> None:
        self._config = config
        self._plugin = PrometheusMiddleware(app, config)
        self._bound: dict[tuple[str, int], tuple[Any, Any]] = {}

    def observe(self, endpoint: Endpoint, status: int, seconds: float) -> None:
        bound = self._bound.get((endpoint.name, status))
        if bound is None:
            bound = self._bound[endpoint.name, status] = self._bind(endpoint, status)
        requests, duration = bound
        requests.inc()
        duration.observe(seconds)

    def _bind(self, endpoint: Endpoint, status: int) -> tuple[Any, Any]:
        labels: dict[str, str | int | float] = {
            "method": endpoint.method,
            "path": endpoint.route_path,
            "status_code": status,
            "app_name": self._config.app_name,
        }
        values = [*labels.values()]
        if status >= 500:
            self._plugin.requests_error_count(labels).labels(*values).inc()
        return (
            self._plugin.request_count(labels).labels(*values),
            self._plugin.request_time(labels).labels(*values),
        )


class HotPaths:
    """An ASGI application: hot endpoints itself, everything else through `app`."""

    def __init__(
        self,
        app: Litestar,
        endpoints: Iterable[Endpoint],
        services: Callable[[], Services],
        metrics: PrometheusConfig,
        limit: int,
    ) -> None:
        self.app = app
        self._services = services
        self._limit = limit
        self._meters = _Meters(app, metrics)
        self._root = _Node()
        self._found: dict[tuple[str, str], _Found] = {}
        self._skip = len(BASE) + 1
        for endpoint in endpoints:
            if endpoint.hot:
                self._add(endpoint)

    def _add(self, endpoint: Endpoint) -> None:
        node = self._root
        for step in endpoint.path[1:].split("/"):
            named = step.startswith("{")
            node = node.next.setdefault(_ANY if named else step, _Node())
            if named:
                node.name = f"{step[1:-1]}_ref"
        node.ends[endpoint.method] = endpoint

    def _find(self, scope: Any) -> _Found | None:
        asked = (scope["method"], scope["path"])
        found = self._found.get(asked)
        if found is None:
            found = self._walk(*asked)
            # Paths of queues come again and again, those of single messages don't; long ones fill the memory.
            if found is not None and "message_ref" not in found[1] and len(scope["path"]) <= _KEPT_PATH:
                if len(self._found) >= _MAX_FOUND:
                    self._found.clear()
                self._found[asked] = found
        return found

    def _walk(self, method: str, path: str) -> _Found | None:
        if not path.startswith(BASE):
            return None
        node: _Node | None = self._root
        parameters: dict[str, str] = {}
        for step in path[self._skip :].split("/"):
            assert node is not None
            found = node.next.get(step) if step else None
            if found is None and step:
                found = node.next.get(_ANY)
                if found is not None:
                    parameters[found.name] = step
            if found is None:
                return None
            node = found
        endpoint = node.ends.get(method) if node is not None else None
        return None if endpoint is None else (endpoint, parameters)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._find(scope) if scope["type"] == ScopeType.HTTP else None
        if found is None:
            await self.app(scope, receive, send)
            return
        endpoint, parameters = found
        headers = HotHeaders(scope["headers"])
        request_id = begin(scope, headers.raw(b"x-request-id"))
        status = 500
        try:
            request = HotRequest(scope, receive, headers, parameters, self._limit)
            try:
                answer = await endpoint.respond(request, self._services())
            except CallerGone:
                status = _CALLER_GONE
            except QueueError as error:
                status = error.code.status
                await self._refuse(failures.on_queue_error, error, scope, receive, send)
            except Exception as error:
                await self._refuse(failures.on_fault, error, scope, receive, send)
            else:
                status = answer.status
                await _send(answer, request_id, send)
                told(scope, status)
        finally:
            self._meters.observe(endpoint, status, time.perf_counter() - scope["state"]["began"])

    async def _refuse(
        self,
        answer: Callable[[Request[Any, Any, Any], Any], Response[Any]],
        error: Exception,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """As Litestar answers errors; that path may be slow."""

        async def send_tracked(message: Any) -> None:
            await before_send(message, scope)
            await send(message)

        request: Request[Any, Any, Any] = Request(scope, receive)
        response = answer(request, error)
        await response.to_asgi_response(self.app, request)(scope, receive, send_tracked)


async def _send(answer: Rendered, request_id: str, send: Send) -> None:
    headers = [
        _CONTENT_TYPE,
        (b"content-length", b"%d" % len(answer.body)),
        (b"x-request-id", request_id.encode()),
    ]
    for name, value in answer.headers.items():
        headers.append((name.lower().encode(), value.encode("latin-1")))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
