"""Events over WebSocket: the path, the conditions and the order are those of the Server-Sent Events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import msgspec
import structlog
from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect
from litestar.handlers import WebsocketRouteHandler

from scaiqueue.api import auditing
from scaiqueue.api.answers import Meta, encode
from scaiqueue.api.endpoint import Asked, Endpoint
from scaiqueue.api.failures import ErrorAnswer, error_body
from scaiqueue.api.listening import Listener
from scaiqueue.errors import Code, QueueError
from scaiqueue.persister.tasks import cancel_all
from scaiqueue.queueing.refusals import of_exception
from scaiqueue.services import Services

# A status of HTTP as a reason to close: 4401 for 401.
CLOSED_FOR = 4000
GOING_AWAY = 1001
SWITCHED = 101

_log = structlog.get_logger("scaiqueue.api")


class Frame(msgspec.Struct):
    """`id` is what a listener resumes from; `event` is an Envelope."""

    id: str
    event: msgspec.Raw


def event_socket(endpoint: Endpoint, services: Callable[[], Services]) -> WebsocketRouteHandler:
    """The handler at the path of `endpoint`, whose permission is asked for."""

    async def listen_to_events(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        telling = asyncio.ensure_future(_tell(socket, endpoint, services()))
        leaving = asyncio.ensure_future(_until_it_leaves(socket))
        try:
            await asyncio.wait([telling, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_all([telling, leaving])

    return WebsocketRouteHandler(endpoint.route_path, name="listen_to_events")(listen_to_events)


async def _until_it_leaves(socket: WebSocket[Any, Any, Any]) -> None:
    """What a listener says is not listened to."""
    try:
        while True:
            await socket.receive_data(mode="text")
    except WebSocketDisconnect:
        return


async def _tell(socket: WebSocket[Any, Any, Any], endpoint: Endpoint, services: Services) -> None:
    try:
        call, _ = await endpoint.begin(cast(Asked, socket), services)
        try:
            listener = await Listener.of(call)
            services.feed.require_room()
        except QueueError as error:
            auditing.refused(services.audit, endpoint.name, call.request, call.principal, call, error)
            raise
        auditing.answered(services.audit, endpoint.name, call, SWITCHED)
        with services.feed.listening("websocket"):
            async for told in listener.told("websocket"):
                for event in told:
                    frame = Frame(str(event.place), msgspec.Raw(event.body))
                    await socket.send_data(encode(frame).decode(), mode="text")
        await socket.close(GOING_AWAY, "the server stops")
    except WebSocketDisconnect:
        return
    except Exception as error:
        known = error if isinstance(error, QueueError) else of_exception(error)
        if known is None:
            _log.error("unhandled fault", path=socket.url.path, method="WEBSOCKET", exc_info=error)
            known = QueueError(Code.SCAIQUEUE_INTERNAL)
        await _refuse(socket, known)


async def _refuse(socket: WebSocket[Any, Any, Any], error: QueueError) -> None:
    answer = ErrorAnswer("error", error_body(error), Meta(socket.scope["state"].get("request_id", "")))
    await socket.send_data(encode(answer).decode(), mode="text")
    await socket.close(CLOSED_FOR + error.code.status, error.code.name)
