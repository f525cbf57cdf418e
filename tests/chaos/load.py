"""Producers and consumers that retry as a user's would, and sometimes misbehave as a user's do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from uuid_utils import uuid7

from tests.chaos.client import Client, Draft, pause
from tests.chaos.history import Claim, Delivery, Publish
from tests.chaos.order import PRIORITY_PREFIX

LEASE_MS = 3000
FIFO, PRIORITY, PARKED = "fifo", f"{PRIORITY_PREFIX}-queue", "parked"
WANT = 10
# How long a user goes on trying to get one thing done.
PATIENCE_S = 60.0


class Load:
    """Runs until `stop_publishing`, then `stop`. `stall` makes consumers hold messages past their lease."""

    def __init__(self, clients: Sequence[Client], seed: int, rate: float) -> None:
        self.clients = clients
        self.stall = asyncio.Event()
        self._rate = rate
        self._dice = Random(seed)
        self._run = f"{seed}-{str(uuid7())[-12:]}"
        self._producing = True
        self._consuming = True
        self._producers: list[asyncio.Task[None]] = []
        self._consumers: list[asyncio.Task[None]] = []
        self._late: set[asyncio.Task[None]] = set()
        self._drafted = 0

    def start(self) -> None:
        for client in self.clients:
            pace = len(self.clients) * 2 / self._rate
            for _ in range(2):
                self._producers.append(asyncio.create_task(self._produce(client, pace)))
            for queue in (FIFO, PRIORITY):
                name = f"consumer-{len(self._consumers)}"
                self._consumers.append(asyncio.create_task(self._consume(client, queue, name)))

    async def stop_publishing(self) -> None:
        self._producing = False
        await asyncio.gather(*self._producers)

    async def stop(self) -> None:
        self._consuming = False
        await asyncio.gather(*self._consumers)
        await asyncio.gather(*self._late)

    def draft(self, queue: str | None = None, *, committed: bool = False) -> Draft:
        """A message that nobody has published yet."""
        self._drafted += 1
        dice = self._dice.random()
        chosen = queue or self._dice.choices((FIFO, PRIORITY, PARKED), (6, 3, 1))[0]
        rank = self._dice.choice((1500, 2500, 3500)) if chosen == PRIORITY else 2500
        durability = "committed" if dice < 0.6 or committed else "indexed"
        return Draft(f"{self._run}-{self._drafted}", chosen, rank, durability)

    async def publish(self, client: Client, draft: Draft) -> Publish:
        """With the same key until it is known to be there, or refused for good."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_S
        while True:
            tried = await client.publish(draft)
            busy = tried.code.startswith("429") or tried.code in ("NOT_READY", "OOM", "BACKLOG", "FULL")
            if tried.outcome == "ok" or not (busy or tried.outcome == "unknown"):
                return tried
            if loop.time() > deadline:
                return tried
            await pause(self._dice.random())

    async def claim(self, client: Client, queue: str, holder: str) -> Claim:
        """With the same claim id for as long as a lost answer's leases last."""
        loop = asyncio.get_running_loop()
        claim_id = str(uuid7())
        deadline = loop.time() + LEASE_MS / 1000
        while True:
            tried = await client.claim(queue, holder, WANT, LEASE_MS, claim_id)
            if tried.outcome == "ok" or loop.time() > deadline:
                return tried
            await pause(self._dice.random())

    async def settle(self, client: Client, verb: str, holder: str, given: Sequence[Delivery]) -> None:
        """Until each is known to be done or refused, or its lease is long over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 2 * LEASE_MS / 1000
        left = list(given)
        while left:
            tried = await client.settle(verb, holder, left, LEASE_MS)
            retry = {s.id for s in tried if s.outcome == "unknown" or s.code == "NOT_READY"}
            left = [one for one in left if one.id in retry]
            if not left or loop.time() > deadline:
                return
            await pause(self._dice.random())

    async def _produce(self, client: Client, pace_s: float) -> None:
        while self._producing:
            await self.publish(client, self.draft())
            await asyncio.sleep(pace_s * 2 * self._dice.random())

    async def _consume(self, client: Client, queue: str, holder: str) -> None:
        while self._consuming:
            claim = await self.claim(client, queue, holder)
            if claim.given:
                await self._work(client, holder, claim.given)
            elif claim.outcome == "ok" and claim.via == "script":
                await asyncio.sleep(0.1)

    async def _work(self, client: Client, holder: str, given: Sequence[Delivery]) -> None:
        """Mostly complete; some fail, release or extend, some come too late, some never."""
        chances = {"complete": 85, "fail": 4, "release": 4, "extend": 3, "late": 2, "dropped": 2}
        fates = self._dice.choices(list(chances), list(chances.values()), k=len(given))
        by_fate = {
            fate: [one for one, of in zip(given, fates, strict=True) if of == fate] for fate in chances
        }
        if self.stall.is_set():
            await asyncio.sleep(LEASE_MS / 1000 + 0.5)
        for verb in ("extend", "complete", "fail", "release"):
            await self.settle(client, verb, holder, by_fate[verb])
        await self.settle(client, "complete", holder, by_fate["extend"])
        if by_fate["late"]:
            late = asyncio.create_task(self._too_late(client, holder, by_fate["late"]))
            self._late.add(late)
            late.add_done_callback(self._late.discard)

    async def _too_late(self, client: Client, holder: str, given: Sequence[Delivery]) -> None:
        await asyncio.sleep(LEASE_MS / 1000 + 0.5)
        await self.settle(client, "complete", holder, given)
