"""WebSocket: one text frame a call, many calls at once, answers in the order in which they are done."""

from __future__ import annotations

import asyncio
from functools import partial

import msgspec
from aiohttp import WSMsgType, web
from msgspec import Raw

from scaiqueue.api.validation import decode
from scaiqueue.errors import QueueError
from scaiqueue.osqueue import metrics
from scaiqueue.osqueue.methods import Methods
from scaiqueue.osqueue.refusals import PROTOCOL_ERROR, Tagged, tagged

TRANSPORT = "ws"
MAX_AT_ONCE = 1000
"""Calls of one connection under way: beyond, nothing more is read."""

_NAMES = frozenset({"submitJob", "claimJob", "heartbeat", "completeJob", "getStats", "listJobs"})
_CLOSE_WITHIN_S = 1.0
_NULL = b"null"


class Frame(msgspec.Struct):
    """A call. `id` is whatever the client tells its answers apart by."""

    id: Raw = Raw(_NULL)
    method: str = ""
    params: Raw = Raw(b"{}")


_frame = msgspec.json.Decoder(Frame)
_encode = msgspec.json.Encoder().encode


class Conversation:
    """One connection."""

    def __init__(self, methods: Methods, authorization: str | None, max_bytes: int) -> None:
        self._methods = methods
        self._authorization = authorization
        self._socket = web.WebSocketResponse(timeout=_CLOSE_WITHIN_S, compress=False, max_msg_size=max_bytes)
        self._calls: set[asyncio.Task[None]] = set()

    async def run(self, request: web.BaseRequest) -> web.WebSocketResponse:
        """Until the client hangs up; what is under way then is still done."""
        await self._socket.prepare(request)
        with metrics.osqueue_connections.track_inprogress():
            async for message in self._socket:
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    continue
                call = asyncio.create_task(self._answer(message.data))
                self._calls.add(call)
                call.add_done_callback(self._calls.discard)
                if len(self._calls) >= MAX_AT_ONCE:
                    await asyncio.wait(self._calls, return_when=asyncio.FIRST_COMPLETED)
        return self._socket

    async def close(self, within_s: float) -> None:
        """Answer what is under way, then hang up."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=within_s)
        await self._socket.close(code=1001)

    async def _answer(self, text: str | bytes) -> None:
        try:
            frame = _frame.decode(text if isinstance(text, str) else text.decode())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            await self._refuse(_NULL, Tagged(PROTOCOL_ERROR, f"Not a call: {error}"))
            return
        call_id = bytes(frame.id)
        if frame.method not in _NAMES:
            message = f"Unsupported WS method: {frame.method[:100]}"
            await self._refuse(call_id, Tagged(PROTOCOL_ERROR, message))
            return
        method = self._methods[frame.method]
        params = partial(decode, method.asked, bytes(frame.params))
        result = await self._methods.call(TRANSPORT, method, self._authorization, params)
        if isinstance(result, QueueError):
            await self._refuse(call_id, tagged(result))
        else:
            await self._send(b'{"id":%b,"ok":true,"result":%b}' % (call_id, _encode(result)))

    async def _refuse(self, call_id: bytes, error: Tagged) -> None:
        await self._send(b'{"id":%b,"ok":false,"error":%b}' % (call_id, _encode(error)))

    async def _send(self, content: bytes) -> None:
        try:
            await self._socket.send_frame(content, WSMsgType.TEXT)
        except (ConnectionError, RuntimeError):
            return  # nobody listens any more
