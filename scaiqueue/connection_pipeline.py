"""One connection for script calls: many are under way at once, replies come in the order of the calls.

redis-py takes a connection from a pool for each call and waits for its reply; a script call costs the
process several times less here. Connecting, with TLS, passwords and unix sockets, stays redis-py's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import hiredis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse
from redis.typing import EncodableT

from scaiqueue.connection import WITHIN_S, PackedConnection, parse_error

_LOST = "The connection was lost, with the call under way."


class _Replies(asyncio.Protocol):
    """Gives each reply to the oldest call. A caller who is gone leaves its place, so none is mistaken."""

    def __init__(self) -> None:
        self.open = True
        self.waiting: deque[asyncio.Future[Any]] = deque()
        self.heard = True
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=parse_error)

    def data_received(self, data: bytes) -> None:
        self.heard = True
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            if isinstance(reply, hiredis.PushNotification):
                continue
            waiter = self.waiting.popleft()
            if waiter.done():
                continue
            if isinstance(reply, Exception):
                waiter.set_exception(reply)
            else:
                waiter.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        for waiter in self.waiting:
            if not waiter.done():
                waiter.set_exception(RedisConnectionError(_LOST))
        self.waiting.clear()


class ConnectionPipeline:
    """Sends commands without waiting for those before. A call that was lost is not repeated.

    A server that says nothing for `silence_s` is given up: as long as redis-py waits for a reply.
    """

    def __init__(self, redis: Redis, silence_s: float = WITHIN_S) -> None:
        self._silence_s = silence_s
        self._pool = redis.connection_pool
        self._connecting = asyncio.Lock()
        self._connection: PackedConnection | None = None
        self._replies = _Replies()
        self._replies.open = False
        self._watch: asyncio.TimerHandle | None = None

    async def execute(self, *words: EncodableT) -> Any:
        """The reply. Raises redis.exceptions as redis-py does; ConnectionError where it is not known
        whether the command was carried out."""
        replies = self._replies if self._replies.open else await self._connected()
        return await self._send(replies, words)

    def _send(self, replies: _Replies, words: Sequence[EncodableT]) -> asyncio.Future[Any]:
        connection = self._connection
        assert connection is not None
        waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        (packed,) = connection.pack_command(*words)
        replies.waiting.append(waiter)
        connection.write(packed)
        if self._watch is None:
            replies.heard = False
            self._watch = asyncio.get_running_loop().call_later(self._silence_s, self._look)
        return waiter

    def _look(self) -> None:
        """While calls are under way: a server that says nothing for so long is given up."""
        self._watch = None
        replies, connection = self._replies, self._connection
        if not replies.waiting or connection is None:
            return
        if not replies.heard:
            connection.abort()
            return
        replies.heard = False
        self._watch = asyncio.get_running_loop().call_later(self._silence_s, self._look)

    async def _connected(self) -> _Replies:
        async with self._connecting:
            if not self._replies.open:
                await self.aclose()
                connection: PackedConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
                await connection.connect()  # type: ignore[no-untyped-call]
                self._connection, self._replies = connection, _Replies()
                connection.hand_over(self._replies)
        return self._replies

    async def aclose(self) -> None:
        """Calls under way fail."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)
