"""One port for all of it: REST, WebSocket and Connect, with the services of an API process behind them."""

from __future__ import annotations

import asyncio
import signal
from typing import cast

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from scaiqueue.api.logs import configure_logs
from scaiqueue.api.protocol import JoiningTransport
from scaiqueue.collector import rest_the_collector
from scaiqueue.osqueue import connect, rest
from scaiqueue.osqueue.answers import Answer, unknown
from scaiqueue.osqueue.methods import Methods
from scaiqueue.osqueue.origins import Origins
from scaiqueue.osqueue.refusals import PROTOCOL_ERROR
from scaiqueue.osqueue.sockets import Conversation
from scaiqueue.services import Services
from scaiqueue.settings import Settings

WEB_SOCKET = "/v1/ws"
_HEALTHY = Answer(200, b'{"status":"ok"}')
# What a request carries around a payload: names, base64.
_SLACK = 1 << 16


class Front:
    """Answers every request of the port."""

    def __init__(self, services: Services, settings: Settings) -> None:
        self._services = services
        self._methods = Methods(services, settings, f"{settings.host}:{settings.osqueue_port}")
        self._origins = Origins(settings.osqueue_origins)
        self._limit = 2 * settings.max_body_bytes + _SLACK
        self._conversations: set[Conversation] = set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """For aiohttp's server."""
        headers: dict[str, str] = {}
        if (origin := request.headers.get("Origin")) is not None:
            if not self._origins.allow(origin):
                return _response(unknown(403, PROTOCOL_ERROR, f"Pages of {origin[:200]} may not call."), {})
            if request.method == "OPTIONS":
                return web.Response(status=204, headers=self._origins.preflight(origin))
            headers = self._origins.headers(origin)
        path = request.raw_path.partition("?")[0]
        if path == WEB_SOCKET and request.method == "GET":
            return await self._converse(request, headers)
        return _response(await self._answer(request, path), headers)

    async def _answer(self, request: web.BaseRequest, path: str) -> Answer:
        if request.method == "GET":
            match path:
                case "/healthz":
                    return _HEALTHY
                case "/readyz":
                    readiness = await self._services.readiness()
                    return Answer(200 if readiness.ready else 503, msgspec.json.encode(readiness))
                case "/metrics":
                    return Answer(200, generate_latest(), CONTENT_TYPE_LATEST)
        called = path.removeprefix(connect.PREFIX) if path.startswith(connect.PREFIX) else None
        found = rest.find(request.method, path) if called is None else None
        if called is not None and request.method != "POST":
            return unknown(405, PROTOCOL_ERROR, "Connect calls are POST.", Allow="POST")
        if called is None and found is None:
            return unknown(404, PROTOCOL_ERROR, f"No such path: {request.method} {path[:200]}")
        body = await self._body(request)
        if body is None:
            return unknown(413, PROTOCOL_ERROR, f"A request takes at most {self._limit} bytes.")
        authorization = request.headers.get("Authorization")
        if found is not None:
            return await rest.answer(self._methods, found, authorization, body)
        assert called is not None
        content_type = request.headers.get("Content-Type", "")
        return await connect.answer(self._methods, called, content_type, authorization, body)

    async def _body(self, request: web.BaseRequest) -> bytes | None:
        """None for more than a request may have."""
        if not request.can_read_body:
            return b""
        content = request.content
        parts, size = [], 0
        while part := await content.readany():
            size += len(part)
            if size > self._limit:
                return None
            parts.append(part)
        return b"".join(parts)

    async def _converse(self, request: web.BaseRequest, headers: dict[str, str]) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return _response(
                unknown(426, PROTOCOL_ERROR, "Ask for an upgrade to WebSocket.", Upgrade="websocket"), headers
            )
        conversation = Conversation(self._methods, request.headers.get("Authorization"), self._limit)
        self._conversations.add(conversation)
        try:
            return await conversation.run(request)
        finally:
            self._conversations.discard(conversation)

    async def close(self, within_s: float) -> None:
        """Hang up on everybody, with what was asked answered where that takes no longer."""
        await asyncio.gather(*(conversation.close(within_s) for conversation in self._conversations))


def _response(answer: Answer, headers: dict[str, str]) -> web.Response:
    given = {**headers, **answer.headers} if answer.headers or headers else None
    if answer.status == 204:
        return web.Response(status=204, headers=given)
    return web.Response(
        body=answer.body,
        status=answer.status,
        headers={**(given or {}), "Content-Type": answer.content_type},
    )


class JoiningHandler(web.RequestHandler):
    """Answers of one turn of the loop leave in one write: a system call for each costs more than the call."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        joining = JoiningTransport(cast(asyncio.Transport, transport), asyncio.get_running_loop())
        super().connection_made(cast(asyncio.Transport, joining))


class JoiningServer(web.Server):
    def __call__(self) -> web.RequestHandler:
        return JoiningHandler(self, loop=asyncio.get_running_loop(), access_log=None)  # type: ignore[arg-type]


async def serve(settings: Settings, grace_s: float) -> None:
    """Until SIGTERM or SIGINT; calls under way then have `grace_s` to end."""
    configure_logs(settings)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    services = Services(settings)
    await services.start()
    try:
        front = Front(services, settings)
        runner = web.ServerRunner(JoiningServer(front.handle))
        await runner.setup()
        await web.TCPSite(runner, settings.host, settings.osqueue_port, shutdown_timeout=grace_s).start()
        rest_the_collector()
        await stopping.wait()
        await asyncio.gather(front.close(grace_s), runner.cleanup())
    finally:
        await services.stop()
