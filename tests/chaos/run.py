"""One run: a site under load, struck again and again, brought to rest, and judged."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from redis.asyncio import Redis

from scaiqueue.moments import now_ms
from scaiqueue.persister.tasks import cancel_all
from scaiqueue.rows.engine import open_engine
from tests.chaos import state
from tests.chaos.checker import Verdict, Violation, check
from tests.chaos.client import HttpClient
from tests.chaos.direct import DirectClient
from tests.chaos.faults import Fault, Scene
from tests.chaos.history import Final, History, Seen, Strike, Switch
from tests.chaos.load import Load
from tests.chaos.site import KEY, PROBE, Site, Usage
from tests.eventually import eventually

RECOVERED_WITHIN_S = 60.0
QUIET_WITHIN_S = 120.0
SAMPLE_S = 5.0
LOOK_S = 0.5
PATH_LOOK_S = 0.1


class Sample(msgspec.Struct):
    """Memory and descriptors of the API processes; None for one that was dead."""

    at: float
    apis: list[Usage | None]


class Report(msgspec.Struct):
    seed: int
    seconds: float
    verdict: Verdict
    strikes: list[Strike]
    samples: list[Sample]
    codes: dict[str, int]
    slowest_s: float
    history: Path


class Run:
    """On a site that was started. `folder` receives the history."""

    def __init__(self, site: Site, folder: Path, *, seed: int, rate: float, pace: float = 1.0) -> None:
        self.site = site
        self.seed = seed
        self.history = History(folder / f"history-{seed}.jsonl")
        self.http = HttpClient([api.url for api in site.apis], KEY, site.scope_id, self.history)
        self.direct = DirectClient(site.direct_url, site.scope, self.history)
        self.load = Load([self.http, self.direct], seed, rate)
        self.strikes: list[Strike] = []
        self.samples: list[Sample] = []
        self.troubles: list[Violation] = []
        self.dice = Random(seed)
        self._pace = pace
        self._begun = time.monotonic()
        self._engine = open_engine(site.database_url)
        self._watching: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self.load.start()
        watches = (self._look(), self._follow_the_path(), self._sample())
        self._watching = [asyncio.create_task(watch) for watch in watches]

    async def strike(self, fault: Fault) -> Strike:
        """One fault, until it is healed and every API process serves again, or the time for that is over."""
        scene = Scene(self.site, self.load, self.http, self.dice, self._pace)
        await fault.act(scene)
        healed = time.monotonic()
        loses = fault.loses if scene.loses is None else scene.loses
        try:
            await asyncio.gather(*(self._serves(api.url) for api in self.site.apis))
        except AssertionError:
            self.troubles.append(Violation("recovers", f"not within {RECOVERED_WITHIN_S} s of {fault.name}"))
        struck = Strike(
            kind=fault.name,
            begun=scene.begun,
            healed=healed,
            recovered=time.monotonic(),
            loses=loses,
        )
        self.history.add(struck)
        self.strikes.append(struck)
        return struck

    async def finish(self) -> Report:
        """Lets the load run out, waits until nothing moves any more, and judges."""
        try:
            await self.load.stop_publishing()
            final = await self._rest()
        finally:
            await cancel_all(self._watching)
            await self.http.close()
            await self.direct.close()
            self.history.close()
        self.history.path.with_name("final.json").write_bytes(msgspec.json.encode(final))
        verdict = await asyncio.to_thread(check, self.history.records, final)
        verdict.violations += self.troubles + self._faults_of_ours()
        await self._engine.dispose()
        return Report(
            self.seed, time.monotonic() - self._begun, verdict, self.strikes, self.samples,
            dict(self.http.codes.most_common()), self.http.slowest_s, self.history.path,
        )  # fmt: skip

    async def _rest(self) -> Final:
        scope = self.site.scope
        async with Redis.from_url(self.site.redis.url) as redis:
            try:
                await eventually(lambda: self._nothing_waits(redis), QUIET_WITHIN_S, 0.2)
            except AssertionError as error:
                self.troubles.append(Violation("comes_to_rest", f"messages wait for ever: {error}"))
            await self.load.stop()
            try:
                await eventually(lambda: state.settled(redis, self._engine, scope), QUIET_WITHIN_S, 0.2)
            except AssertionError as error:
                self.troubles.append(Violation("comes_to_rest", f"the rows do not reach the index: {error}"))
            return await state.read_final(redis, self._engine, scope)

    async def _nothing_waits(self, redis: Redis) -> bool:
        return await state.waiting(redis, self.site.scope) == 0

    def _faults_of_ours(self) -> list[Violation]:
        mixed = [Violation("reply_belongs", what) for what in self.http.mixed]
        return mixed + [
            Violation("no_fault_of_ours", f"{count} answers {code}")
            for code, count in self.http.codes.items()
            if code.startswith("500") or code == "no answer in time"
        ]

    async def _serves(self, url: str) -> None:
        """A message through this process alone: published with its row, claimed, completed."""
        client = self.http.only(url)

        async def once() -> bool:
            published = await client.publish(self.load.draft(PROBE, committed=True))
            if published.outcome != "ok":
                return False
            claim = await client.claim(PROBE, "probe", 100, 3000, wait_s=0)
            if not claim.given:
                # The other process' probe took it.
                return claim.outcome == "ok"
            settles = await client.settle("complete", "probe", claim.given, 3000)
            return all(settle.outcome == "ok" for settle in settles)

        await eventually(once, RECOVERED_WITHIN_S, 0.1)

    async def _look(self) -> None:
        """What the rows hold as completed must never come back."""
        since = now_ms()
        while True:
            await asyncio.sleep(LOOK_S)
            # One second back: a row's time is its script's, not its commit's.
            asked = now_ms()
            with contextlib.suppress(Exception):
                async with asyncio.timeout(LOOK_S):
                    found = await state.completed(self._engine, since - 5000)
                    self.history.add(Seen(at=time.monotonic(), completed=found))
                    since = asked

    async def _follow_the_path(self) -> None:
        """Marks the times when the rows served instead of Redis."""
        last_redis, left = time.monotonic(), False
        while True:
            await asyncio.sleep(PATH_LOOK_S)
            with contextlib.suppress(Exception):
                async with asyncio.timeout(LOOK_S):
                    through_redis = await state.through_redis(self._engine)
                now = time.monotonic()
                if through_redis and left:
                    self.history.add(Switch(begun=last_redis, ended=now))
                left = not through_redis
                last_redis = now if through_redis else last_redis

    async def _sample(self) -> None:
        while True:
            self.samples.append(Sample(time.monotonic() - self._begun, self.site.usage()))
            await asyncio.sleep(SAMPLE_S)


async def chaos(run: Run, *, seconds: float, every_s: float, faults: Sequence[Fault]) -> Report:
    """Strikes of `faults` in a seeded order, every kind once before any comes again."""
    dice = Random(run.seed)
    run.start()
    end = time.monotonic() + seconds
    deck: list[Fault] = []
    while time.monotonic() < end:
        due = time.monotonic() + every_s * dice.uniform(0.5, 1.5)
        await asyncio.sleep(max(0.0, min(due, end) - time.monotonic()))
        if time.monotonic() >= end:
            break
        deck = deck or dice.sample(faults, len(faults))
        fault = deck.pop()
        print(f"{time.monotonic() - end + seconds:6.1f} s  {fault.name}: {fault.what}", flush=True)
        struck = await run.strike(fault)
        print(
            f"{'':10}healed after {struck.healed - struck.begun:.1f} s, "
            f"served {struck.recovered - struck.healed:.2f} s later",
            flush=True,
        )
    return await run.finish()


def plain(report: Report) -> dict[str, Any]:
    """For JSON: what another machine can make something of."""
    found: dict[str, Any] = msgspec.to_builtins(report, enc_hook=str)
    del found["history"]
    return found
