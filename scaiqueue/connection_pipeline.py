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
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=parse_error)

    def data_received(self, data: bytes) -> None:
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

    The connection is given up when a call has waited for `silence_s`, or for twice as long if others were
    before it: looking at the oldest now and then costs calls nothing.
    """

    def __init__(self, redis: Redis, silence_s: float = WITHIN_S) -> None:
        self._silence_s = silence_s
        self._pool = redis.connection_pool
        self._connecting = asyncio.Lock()
        self._connection: PackedConnection | None = None
        self._replies = _Replies()
        self._replies.open = False
        self._watch: asyncio.TimerHandle | None = None
        self._oldest: asyncio.Future[Any] | None = None

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
            self._look_later(waiter)
        return waiter

    def _look(self) -> None:
        """While calls are under way: the one that was the oldest at the last look must be through."""
        self._watch = None
        replies, connection = self._replies, self._connection
        if not replies.waiting or connection is None:
            return
        if replies.waiting[0] is self._oldest:
            connection.abort()
            return
        self._look_later(replies.waiting[0])

    def _look_later(self, oldest: asyncio.Future[Any]) -> None:
        self._oldest = oldest
        self._watch = asyncio.get_running_loop().call_later(self._silence_s, self._look)

    async def _connected(self) -> _Replies:
        async with self._connecting:
            if not self._replies.open:
                await self.aclose()
                connection: PackedConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
                async with asyncio.timeout(self._silence_s):
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
