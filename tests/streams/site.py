"""A scope with a queue, and what a producer and a listener of its streams do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.api.conftest import Api, created, failed


@dataclass
class Site:
    api: Api
    scope: str
    scope_id: str
    queue: str

    @classmethod
    async def of(cls, api: Api, **queue: Any) -> Site:
        scope = await api.scope()
        made = await api.queue(scope, **queue)
        return cls(api, f"/scopes/{scope['id']}", scope["id"], made["slug"])

    async def open(self, **said: Any) -> str:
        """A new stream's path."""
        body = {"queue": self.queue, "type": "answer", **said}
        stream = created(await self.api.http.post(f"{self.scope}/streams", json=body))
        assert stream["state"] == "open"
        return f"{self.scope}/streams/{stream['id']}"

    async def send(self, stream: str, seq: int, data: str, **said: Any) -> dict[str, Any]:
        body = {"seq": seq, "data": data, **said}
        return read(await self.api.http.post(f"{stream}/chunks", json=body))

    async def get(self, path: str, **query: Any) -> Any:
        return read(await self.api.http.get(path, params=query))

    async def close(self, stream: str) -> dict[str, Any]:
        return read(await self.api.http.post(f"{stream}/close"))

    async def refused(self, stream: str, body: dict[str, Any], status: int, code: str) -> dict[str, Any]:
        return failed(await self.api.http.post(f"{stream}/chunks", json=body), status, code)

    @asynccontextmanager
    async def events(
        self, stream: str, *, last: str | None = None, after: int = -1
    ) -> AsyncIterator[AsyncIterator[dict[str, str]]]:
        """The stream's events, each with its fields."""
        headers = {"Accept": "text/event-stream"} | ({} if last is None else {"Last-Event-ID": last})
        path = f"{stream}/chunks?after={after}"
        async with self.api.http.stream("GET", path, headers=headers) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield parsed(answer)


async def parsed(answer: httpx.Response) -> AsyncIterator[dict[str, str]]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if not line:
            if fields:
                yield fields
            fields = {}
        elif name:
            fields[name] = f"{fields[name]}\n{value}" if name in fields else value


def read(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]
