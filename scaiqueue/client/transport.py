"""How calls get to the queue: over HTTP, or to something in their place for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple, Protocol

import aiohttp
from yarl import URL

from scaiqueue.client.errors import Unreachable

BASE = "/v1/modules/scaiqueue"


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    content: bytes


class Transport(Protocol):
    """Carries single calls; knows nothing of what they mean."""

    async def send(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> Answer:
        """`path` follows the base of the API. Raises Unreachable when there is no answer."""

    def stream(
        self, path: str, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[tuple[Answer, AsyncIterator[bytes]]]:
        """An answer that goes on for as long as it is read; its `content` is that of a refusal."""

    async def close(self) -> None: ...


class HttpTransport:
    """aiohttp's connections, kept and used again. They belong to the event loop of the first call."""

    def __init__(self, url: str, *, connections: int = 100) -> None:
        self._base = url.rstrip("/") + BASE
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=self._connections)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    async def send(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> Answer:
        try:
            async with self._open().request(
                method,
                URL(self._base + path, encoded=True),
                data=content,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as response:
                return Answer(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error

    @asynccontextmanager
    async def stream(
        self, path: str, headers: Mapping[str, str]
    ) -> AsyncIterator[tuple[Answer, AsyncIterator[bytes]]]:
        try:
            async with self._open().get(
                URL(self._base + path, encoded=True),
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=30),
            ) as response:
                refused = await response.read() if response.status >= 400 else b""
                yield Answer(response.status, response.headers, refused), response.content.iter_any()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(f"no answer from {self._base} ({type(error).__name__}: {error})")

    async def close(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()
