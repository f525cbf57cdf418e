"""`python -m loadtest.load`: Locust scenarios on a private ScaiQueue, and a sweep that finds the knee."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Literal

import aiohttp
import cyclopts
import msgspec
from cyclopts import Parameter

from loadtest.locust_report import Case, Stat, Step, write
from loadtest.stack import Stack, private_stack
from loadtest.webhooks import load_webhooks
from scaiqueue.api.endpoint import BASE

Scenario = Literal[
    "ProducerSingle", "ProducerBatch", "ConsumerSingle", "ConsumerBatch", "MixedSingle", "MixedBatch"
]
ALL: tuple[Scenario, ...] = (
    "ProducerSingle",
    "ProducerBatch",
    "ConsumerSingle",
    "ConsumerBatch",
    "MixedSingle",
    "MixedBatch",
)
SCOPE, QUEUE = "loadtest", "jobs"
STOCK = {"ConsumerSingle": 6_000, "ConsumerBatch": 30_000}
SWEEP_USERS = 32
SHARES = (0.25, 0.5, 0.7, 0.85, 1.0, 1.2)
RESULTS = Path(__file__).parent / "results"
_ROOT = Path(__file__).resolve().parents[1]
_LOCUSTFILE = Path(__file__).parent / "locustfile.py"
_FILL = 500

app = cyclopts.App(name="python -m loadtest.load", help_format="plaintext")


@app.default
def main(
    *scenarios: Scenario,
    users: int = 8,
    seconds: int = 8,
    batch: int = 100,
    rate: float = 0,
    sweep: Scenario | Literal["none"] = "MixedSingle",
    database_url: str = "",
    redis_url: str = "",
    out: Path = RESULTS,
    ui: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Drive a ScaiQueue that is started for this and ended after it.

    Parameters
    ----------
    scenarios
        Which to run; all if none is named.
    users
        Locust users at once.
    seconds
        How long each scenario and each step of the sweep takes.
    batch
        Messages in a call of the batch scenarios.
    rate
        Tasks a second over all users, started whatever the answers do; 0 waits for answers.
    sweep
        The scenario whose rate is raised step by step, from a quarter of what a closed loop reaches.
    database_url
        A MariaDB for the rows; SQLite if not given.
    redis_url
        A Redis instead of the bundled Valkey.
    out
        Folder for load.json, load.md, load.svg and Locust's pages.
    ui
        Locust's web page instead; Ctrl-C ends it.
    """
    plan = Plan(scenarios or ALL, users, seconds, batch, rate, sweep, out)
    asyncio.run(_run(plan, redis_url, database_url, ui))


class Plan(msgspec.Struct, frozen=True):
    scenarios: tuple[Scenario, ...]
    users: int
    seconds: int
    batch: int
    rate: float
    sweep: str
    out: Path


class _Total(msgspec.Struct):
    name: str
    num_requests: int
    num_failures: int
    response_times: dict[str, int]


class _Counts(msgspec.Struct):
    published: int
    claimed: int
    completed: int
    first: float
    last: float


async def _run(plan: Plan, redis_url: str, database_url: str, ui: bool) -> None:
    async with private_stack(redis_url=redis_url, database_url=database_url) as stack:
        await _create(stack)
        if ui:
            print("http://127.0.0.1:8089  (Ctrl-C ends it)", flush=True)
            await _locust(stack, plan, ("--web-host", "127.0.0.1", "--class-picker"), 0, {})
            return
        plan.out.mkdir(parents=True, exist_ok=True)
        cases = []
        for scenario in plan.scenarios:
            await _fill(stack, STOCK.get(scenario, 0))
            print(scenario, file=sys.stderr, flush=True)
            cases.append(await _case(stack, plan, scenario, plan.rate, page=f"load-{scenario}.html"))
        steps = [step async for step in _sweep(stack, plan)]
    store = "MariaDB" if database_url else "SQLite"
    write(cases, steps, plan.sweep, f"rows in {store}, {plan.users} users, {plan.seconds} s each", plan.out)
    print((plan.out / "load.md").read_text())


async def _sweep(stack: Stack, plan: Plan) -> AsyncIterator[Step]:
    """Fixed rates around what as many users reach in a closed loop."""
    if plan.sweep == "none":
        return
    closed = await _case(stack, plan, plan.sweep, 0, users=SWEEP_USERS)
    for share in SHARES:
        rate = max(1.0, share * closed.tasks_per_second)
        case = await _case(stack, plan, plan.sweep, rate, users=SWEEP_USERS)
        print(f"{plan.sweep} at {rate:.0f}/s: {case.tasks_per_second:.0f}/s", file=sys.stderr, flush=True)
        yield Step(rate, case)


async def _case(
    stack: Stack, plan: Plan, scenario: str, rate: float, *, page: str = "", users: int = 0
) -> Case:
    with tempfile.TemporaryDirectory() as folder:
        file, counted = Path(folder) / "stats", Path(folder) / "counts"
        words = [
            "--headless",
            "--only-summary",
            "--loglevel",
            "ERROR",
            "--json-file",
            str(file),
        ]
        words += [
            "-u",
            str(users or plan.users),
            "-r",
            "100",
            "-t",
            f"{plan.seconds}s",
            "--stop-timeout",
            "5",
        ]
        words += ["--html", str(plan.out / page)] if page else []
        began = time.time()
        environment = {"LOAD_COUNTS": str(counted)}
        await _locust(stack, plan, (*words, scenario), rate / (users or plan.users), environment)
        found = msgspec.json.decode(file.with_suffix(".json").read_bytes(), type=list[_Total])
        counts = msgspec.json.decode(counted.read_bytes(), type=_Counts)
    span = max(counts.last - counts.first, 0.001)
    stats = list(_stats(found, plan.seconds))
    # The first call of a task is the one that a user of Locust starts at the rate asked for.
    first = next((s for s in stats if s.name.startswith(("publish", "claim"))), None)
    if first is None:
        raise RuntimeError(f"{scenario}: no call was made in {time.time() - began:.0f} s")
    return Case(
        scenario,
        rate,
        max(s.requests for s in stats) / plan.seconds,
        counts.published / span,
        counts.claimed / span,
        counts.completed / span,
        stats,
    )


def _stats(found: list[_Total], seconds: int) -> Iterator[Stat]:
    for total in found:
        times = sorted((float(ms), number) for ms, number in total.response_times.items())
        yield Stat(
            total.name,
            total.num_requests,
            total.num_failures,
            total.num_requests / seconds,
            *(_quantile(times, share) for share in (0.5, 0.95, 0.99, 0.999)),
        )


def _quantile(times: list[tuple[float, int]], share: float) -> float:
    left = share * sum(number for _, number in times)
    for ms, number in times:
        left -= number
        if left <= 0:
            return ms
    return times[-1][0] if times else 0.0


async def _locust(
    stack: Stack, plan: Plan, words: tuple[str, ...], rate: float, environment: dict[str, str]
) -> None:
    """Run it to its end. Exit status 1 says that calls failed: the results say which."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "locust", "-f", str(_LOCUSTFILE), "--host", stack.url, *words),
        env={
            **os.environ,
            **environment,
            "PYTHONPATH": str(_ROOT),
            "SCAIQUEUE_API_KEY": stack.key,
            "LOAD_BATCH": str(plan.batch),
            "LOAD_RATE": str(rate),
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        status = await process.wait()
    except asyncio.CancelledError:
        await process.wait()
        raise
    if status not in (0, 1):
        raise RuntimeError(f"Locust ended with status {status}")


async def _create(stack: Stack) -> None:
    async with _session(stack) as session:
        for path, slug in (("/scopes", SCOPE), (f"/scopes/{SCOPE}/queues", QUEUE)):
            async with session.post(BASE + path, json={"slug": slug, "display_name": slug}) as answer:
                answer.raise_for_status()


async def _fill(stack: Stack, messages: int) -> None:
    """So many messages for consumers to take."""
    bodies = [hook.body for hook in load_webhooks()]
    path = f"{BASE}/scopes/{SCOPE}/queues/{QUEUE}/messages/batch"
    async with _session(stack) as session:
        for at in range(0, messages, _FILL):
            items = b",".join(
                b'{"type":"load.webhook","body":' + bodies[(at + number) % len(bodies)] + b"}"
                for number in range(_FILL)
            )
            headers = {"Content-Type": "application/json"}
            async with session.post(path, data=b'{"messages":[' + items + b"]}", headers=headers) as answer:
                answer.raise_for_status()


def _session(stack: Stack) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(stack.url, headers={"Authorization": f"Bearer {stack.key}"})


if __name__ == "__main__":
    app()
