"""Load that is written down: what was sent, what came back, and what each caller holds."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.faults.conftest import BASE, HEADERS

QUEUE = f"{BASE}/scopes/s/queues/q/messages"


@dataclass
class Load:
    """Producers and consumers on the given addresses. `patience_s`: how long a request is tried again,
    at the next address, before it counts as failed; 0: never again."""

    urls: list[str]
    patience_s: float = 0
    published: dict[str, str] = field(default_factory=dict)
    received: dict[str, str] = field(default_factory=dict)
    completed: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    tries: int = 0
    ending: bool = False
    _numbers: Any = field(default_factory=itertools.count)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> Load:
        self._http = httpx.AsyncClient(headers=HEADERS, timeout=30)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.ending = True
        await asyncio.gather(*self._tasks)
        await self._http.aclose()

    def start(self, *, producers: int, consumers: int) -> None:
        for work in [self._produce] * producers + [self._consume] * consumers:
            self._tasks.append(asyncio.create_task(work()))

    async def end(self) -> None:
        """Let every request under way come back, and send no more."""
        self.ending = True
        await asyncio.gather(*self._tasks)

    async def post(self, path: str, body: Any) -> httpx.Response | None:
        """The answer; None where there was none, or still a refusal when patience was over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.patience_s
        while True:
            url = self.urls[next(self._numbers) % len(self.urls)]
            self.tries += 1
            try:
                answer = await self._http.post(url + path, json=body)
                if answer.status_code < 400:
                    return answer
                told = f"{answer.status_code} {answer.text[:200]}"
            except httpx.HTTPError as error:
                told = repr(error)
            if loop.time() >= deadline:
                self.failures.append(f"{path}: {told}")
                return None
            await asyncio.sleep(0.02)

    async def _produce(self) -> None:
        while not self.ending:
            key = f"k{next(self._numbers)}"
            answer = await self.post(QUEUE, {"type": "t", "body": key, "idempotency_key": key})
            if answer is not None:
                self.published[answer.json()["data"]["id"]] = key

    async def _consume(self) -> None:
        while not self.ending:
            answer = await self.post(QUEUE + "/claim", {"batch_size": 3, "wait_s": 5})
            for message in answer.json()["data"] if answer is not None else ():
                self.received[message["id"]] = message["claim_token"]
                path = f"{BASE}/scopes/s/messages/{message['id']}/complete"
                done = await self.post(path, {"claim_token": message["claim_token"]})
                if done is not None:
                    self.completed.add(message["id"])
