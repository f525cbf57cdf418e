"""The Redis client of a process: commands packed by hiredis, calls never repeated unseen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import hiredis
from redis._parsers.base import BaseParser
from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.typing import EncodableT

# Of a server's error reply, the exception that redis-py raises for it.
parse_error: Callable[[str], Exception] = BaseParser.parse_error
CONNECTIONS = 24
WITHIN_S = 5.0


class _Packed:
    """Packs in C what redis-py packs in Python: a script call has dozens of arguments."""

    write: Callable[[bytes], None]
    abort: Callable[[], None]

    def pack_command(self, *args: EncodableT) -> list[bytes]:
        command = args[0]
        words = command.split(" ") if isinstance(command, str) else [command]
        return [hiredis.pack_command((*words, *args[1:]))]

    def hand_over(self, protocol: asyncio.Protocol) -> None:
        """From now on `protocol` reads what arrives; only `write`, `abort` and `disconnect` remain."""
        writer: asyncio.StreamWriter = self._writer  # type: ignore[attr-defined]
        writer.transport.set_protocol(protocol)
        self.write, self.abort = writer.transport.write, writer.transport.abort


class PackedConnection(_Packed, Connection):
    pass


class PackedSSLConnection(_Packed, SSLConnection):
    pass


class PackedUnixConnection(_Packed, UnixDomainSocketConnection):
    pass


_by_scheme: dict[str, type[Any]] = {
    "unix": PackedUnixConnection,
    "redis": PackedConnection,
    "rediss": PackedSSLConnection,
}


def open_redis(url: str, *, connections: int = CONNECTIONS, within_s: float = WITHIN_S) -> Redis:
    """A client whose calls wait for a free connection. Nothing takes longer than `within_s` each: a
    connection, being connected, an answer. Raises ValueError for an unknown scheme."""
    scheme = url.partition(":")[0]
    if scheme not in _by_scheme:
        raise ValueError(f"{scheme}: not a Redis URL; use redis://, rediss:// or unix://")
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=within_s,
        socket_connect_timeout=within_s,
        socket_timeout=within_s,
        retry=Retry(NoBackoff(), 0),
        decode_responses=False,
    )
    # from_url chooses the class by the scheme, whatever it is given.
    pool.connection_class = _by_scheme[scheme]
    return Redis.from_pool(pool)
