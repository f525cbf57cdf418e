"""The API of tests/api, listeners, and receivers of webhooks on the loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
from aiohttp import web

from scaiqueue.webhooks.signature import SIGNATURE, TIMESTAMP, sign
from tests.api.conftest import Api, api, api_servers

__all__ = ["api", "api_servers"]


PATIENCE_S = 20.0


class Frame(NamedTuple):
    id: str
    event: dict[str, Any]


class Ground:
    """A scope with a queue of its own."""

    def __init__(self, api: Api, scope: dict[str, Any], queue: dict[str, Any]) -> None:
        self.api = api
        self.scope = scope
        self.queue = queue
        self.path = f"/scopes/{scope['id']}"
        self.messages = f"{self.path}/queues/{queue['id']}/messages"

    async def publish(self, count: int = 1, **fields: Any) -> list[str]:
        items = [{"type": "t", "body": n, **fields} for n in range(count)]
        answer = await self.api.http.post(self.messages + "/batch", json={"messages": items})
        return [item["id"] for item in answer.json()["data"]]

    async def claim(self, want: int = 1) -> list[dict[str, Any]]:
        answer = await self.api.http.post(self.messages + "/claim", json={"batch_size": want})
        data: list[dict[str, Any]] = answer.json()["data"]
        return data

    async def settle(self, verb: str, message: dict[str, Any], **fields: Any) -> None:
        given = {"claim_token": message["claim_token"], **fields}
        answer = await self.api.http.post(f"{self.path}/messages/{message['id']}/{verb}", json=given)
        assert answer.status_code == 200, answer.text

    @asynccontextmanager
    async def listen(self, last: str | None = None, **query: str) -> AsyncIterator[AsyncIterator[Frame]]:
        """Server-Sent Events, once the server has begun to send."""
        headers = {"Last-Event-ID": last} if last is not None else {}
        async with self.api.http.stream(
            "GET", f"{self.path}/events", params=query, headers=headers, timeout=None
        ) as answer:
            assert answer.status_code == 200, await answer.aread()
            assert answer.headers["content-type"].startswith("text/event-stream")
            frames = _frames(answer)
            async with asyncio.timeout(PATIENCE_S):
                assert (await anext(frames)).event == {}  # where a listener without events resumes from
            yield frames


async def _frames(answer: httpx.Response) -> AsyncIterator[Frame]:
    found: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            found[name] = value
        elif found:
            data = msgspec.json.decode(found["data"]) if "data" in found else {}
            if "event_type" in data:
                assert found["event"] == data["event_type"]
            yield Frame(found.get("id", ""), data)
            found = {}


async def take(frames: AsyncIterator[Frame], count: int) -> list[Frame]:
    """The next events; marks are passed over. As with `eventually`, what does not come ends the wait."""
    taken: list[Frame] = []
    try:
        async with asyncio.timeout(PATIENCE_S):
            while len(taken) < count:
                frame = await anext(frames)
                if frame.event:
                    taken.append(frame)
    except TimeoutError:
        raise AssertionError(f"{count} events expected, {kinds(taken)[-50:]} came") from None
    return taken


@pytest.fixture
async def ground(api: Api) -> Ground:
    scope = await api.scope()
    return Ground(api, scope, await api.queue(scope))


def kinds(frames: list[Frame]) -> list[str]:
    return [frame.event["event_type"].removeprefix("scaiqueue.message.") for frame in frames]


class Call(NamedTuple):
    """What a receiver got."""

    event: dict[str, Any]
    headers: Any


Answer = Callable[[Call], Awaitable[web.StreamResponse] | web.StreamResponse]


class Receiver:
    """A server on the loopback that keeps what it is sent; `answer` decides what it says."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.calls: list[Call] = []
        self.answer: Answer = lambda _call: web.Response()
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def start(self) -> None:
        application = web.Application()
        application.router.add_post("/hook", self._take)
        self._runner = web.AppRunner(application, shutdown_timeout=0.01)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """As if it was killed: what is under way is broken off."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        assert request.headers[SIGNATURE] == sign(self.secret, request.headers[TIMESTAMP], body)
        call = Call(msgspec.json.decode(body), request.headers)
        self.calls.append(call)
        answer = self.answer(call)
        return await answer if isinstance(answer, Awaitable) else answer

    @property
    def types(self) -> list[str]:
        return [call.event["event_type"].removeprefix("scaiqueue.message.") for call in self.calls]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver("whsec_of_the_tests_0123456789")
    await found.start()
    yield found
    await found.stop()
