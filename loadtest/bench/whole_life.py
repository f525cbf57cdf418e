"""Publish, claim, complete, row committed: everything at once over HTTP, and the persister's lag."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Generator

from loadtest.bench import http_cases
from loadtest.bench.api_server import Deployment
from loadtest.bench.http_driver import Next, drive, request
from loadtest.bench.measure import Row, Sample, Spread, cpu_ms, measured
from loadtest.bench.workload import bodies
from scaiqueue.api.endpoint import BASE
from scaiqueue.rows.tables import events, messages, scopes

SCOPES, CONNECTIONS = 4, 2
_TERMINAL_SECONDS = 120.0
_lag = re.compile(r"^scaiqueue_persister_lag_seconds\{[^}]*\} (\S+)", re.MULTILINE)


class Life:
    """One scope whose connections publish a batch, claim as many, and complete them with the next claim."""

    def __init__(self, deployed: Deployment, slug: str) -> None:
        self.deployed, self.slug = deployed, slug
        self.completed = 0
        self.stopped = False
        deployed.ask("/scopes", {"slug": slug, "display_name": slug})
        deployed.ask(f"/scopes/{slug}/queues", {"slug": "jobs", "display_name": "Jobs"})

    async def run(self) -> None:
        """Until `stopped`. Raises RuntimeError when a call was refused."""
        port = self.deployed.api.port
        outcomes = await asyncio.gather(*(drive(port, 1, _driven(self._turns())) for _ in range(CONNECTIONS)))
        for outcome in outcomes:
            if outcome.refused:
                raise RuntimeError(f"{outcome.refused} calls were refused: {outcome.first_refusal[:300]!r}")

    def _turns(self) -> Generator[bytes, bytes, None]:
        key, queue = self.deployed.key, f"{BASE}/scopes/{self.slug}/queues/jobs/messages"
        publish = request(f"{queue}/batch", http_cases.batch(bodies("200 B", http_cases.BATCH)), key)
        claim = request(f"{queue}/claim", b'{"batch_size":100}', key)
        path = f"{BASE}/scopes/{self.slug}/messages/complete"
        held: list[http_cases.Claimed] = []
        while not self.stopped:
            yield publish
            if held:
                finish = http_cases.finish(held, b',"claim":{"queue":"jobs","batch_size":100}')
                answer = yield request(path, finish, key)
            else:
                answer = yield claim
            self.completed += len(held)
            held = http_cases.taken(answer)
        if held:
            yield request(path, http_cases.finish(held), key)
            self.completed += len(held)


def _driven(turns: Generator[bytes, bytes, None]) -> Next:
    """The generator as the driver wants it: the first request needs no answer."""
    started = False

    def next_request(answer: bytes) -> bytes | None:
        nonlocal started
        try:
            if started:
                return turns.send(answer)
            started = True
            return next(turns)
        except StopIteration:
            return None

    return next_request


async def whole_life(deployed: Deployment, seconds: float) -> list[Row]:
    """For `seconds`, then until every completed message is a committed row."""
    await settled(deployed)
    terminal, journaled = _number_of_terminal(deployed), _rows(deployed, events.name)
    lives = [Life(deployed, f"life-{number}") for number in range(SCOPES)]
    lags: list[float] = []
    with measured(0, deployed.pids) as sample:
        running = asyncio.gather(*(life.run() for life in lives))
        until = time.monotonic() + seconds
        while True:
            lags.append(await asyncio.to_thread(_worst_lag, deployed))
            if time.monotonic() >= until or running.done():
                break
            await asyncio.sleep(0.5)
        for life in lives:
            life.stopped = True
        await running
        sample.count = sum(life.completed for life in lives)
        await settled(deployed, terminal, sample.count)
    entries = _rows(deployed, events.name) - journaled
    return [_row(sample, lags, entries)]


def _row(sample: Sample, lags: list[float], entries: int) -> Row:
    thirds = max(1, len(lags) // 3)
    early, late = sum(lags[:thirds]) / thirds, sum(lags[-thirds:]) / thirds
    return Row(
        section=http_cases.SECTION,
        name="whole life: publish, claim, complete, row committed",
        unit="messages/s",
        value=Spread.of([sample.rate]),
        goal="≥ 15,000 for 60 s with a lag < 1 s",
        met=sample.rate >= 15_000 and max(lags) < 1,
        cpu_ms=cpu_ms([sample]),
        durability=http_cases.COMMITTED,
        details={
            "seconds": round(sample.seconds, 1),
            "lag s, worst": round(max(lags), 2),
            "lag s, first third": round(early, 2),
            "lag s, last third": round(late, 2),
            "journal entries per message": round(entries / max(sample.count, 1), 4),
        },
        note="the clock stops when the last message is a committed row",
    )


def _worst_lag(deployed: Deployment) -> float:
    return max((float(value) for value in _lag.findall(deployed.metrics())), default=0.0)


def _rows(deployed: Deployment, table: str, condition: str = "TRUE") -> int:
    return int(deployed.mariadb.run(f"SELECT COUNT(*) FROM {table} WHERE {condition}", "bench"))


def _number_of_terminal(deployed: Deployment) -> int:
    return _rows(
        deployed,
        messages.name,
        f"state = 5 AND scope_id IN (SELECT id FROM {scopes.name} WHERE slug LIKE 'life-%')",
    )


async def settled(deployed: Deployment, before: int = 0, more: int = 0) -> None:
    """Until no shard lags, and `more` messages are terminal rows. Raises RuntimeError after a bound."""
    until = time.monotonic() + _TERMINAL_SECONDS
    while time.monotonic() < until:
        caught_up = await asyncio.to_thread(_worst_lag, deployed) == 0
        if caught_up and _number_of_terminal(deployed) >= before + more:
            return
        await asyncio.sleep(0.1)
    raise RuntimeError(f"rows are behind after {_TERMINAL_SECONDS:.0f} s")
