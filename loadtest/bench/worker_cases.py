"""Our worker beside those of other queues: jobs that do nothing, one process each; latency of single jobs."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from loadtest.bench.api_server import ROOT, Deployment
from loadtest.bench.measure import Row, Sample, Spread, compare, cpu_ms, measured
from loadtest.peers.catalogue import PeerMissing
from scaiqueue.embedded.children import die_with_parent
from scaiqueue.rows.tables import messages, scopes

SECTION = "peers"
OUR_JOBS, PINGS = 40_000, 100
PYTHON = ("saq", "arq", "rq", "dramatiq", "celery", "taskiq", "streaq", "bullmq_python")
NODE = "bullmq"
WORKERS = (*PYTHON, NODE)
_OURS = "scaiqueue worker"
_SCOPE = "peer"
_BOUND_SECONDS = 90.0
_ROWS = "Each job was a committed row of MariaDB when its publish was answered; its end is one soon after."
_ONE_PROCESS = "one process, 100 handlers at a time"
_result = re.compile(rb"^RESULT (.*)$", re.MULTILINE)
_PROGRAM = [sys.executable, str(Path(__file__).parents[1] / "peers" / "scaiqueue_peer.py")]


class Told(msgspec.Struct):
    """What a program says of itself."""

    jobs: int
    seconds: float
    cpu: float
    p50_ms: float = 0.0
    p99_ms: float = 0.0


def run_program(words: list[str], environment: Mapping[str, str]) -> Told:
    """Raises PeerMissing when it says nothing in time."""
    with _running(words, environment) as result:
        return result()


def trickle(words: list[str], url: str, pings: int, environment: Mapping[str, str]) -> Sample:
    """Single jobs by one process to a worker that waits for them in another. Raises PeerMissing."""
    waiting, sending = ([*words, mode, url, str(pings)] for mode in ("wait", "trickle"))
    with _running(waiting, environment) as result, _running(sending, environment):
        told = result()
    return Sample(told.jobs, told.seconds, {}, {"p50 ms": told.p50_ms, "p99 ms": told.p99_ms})


@contextmanager
def _running(words: list[str], environment: Mapping[str, str]) -> Iterator[Callable[[], Told]]:
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,
            preexec_fn=die_with_parent,
            env={**os.environ, **environment},
        )

        def result() -> Told:
            try:
                process.wait(_BOUND_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            output.seek(0)
            written = output.read()
            found = _result.search(written)
            if found is None:
                said = written[-300:].decode(errors="replace")
                raise PeerMissing(f"no result within {_BOUND_SECONDS:.0f} s: {said}")
            return msgspec.json.decode(found[1], type=Told)

        try:
            yield result
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


class OurWorker:
    """The whole stack: SDK, one API process, Redis, rows in MariaDB."""

    def __init__(self, deployed: Deployment) -> None:
        self._deployed = deployed
        deployed.ask("/scopes", {"slug": _SCOPE, "display_name": _SCOPE})
        deployed.ask(f"/scopes/{_SCOPE}/queues", {"slug": "jobs", "display_name": "Jobs"})
        self._url = f"http://127.0.0.1:{deployed.api.port}"
        self._environment = {"SCAIGRID_API_KEY": deployed.key, "PYTHONPATH": str(ROOT)}

    async def round(self, jobs: int) -> list[tuple[str, Sample]]:
        found = []
        for mode, word in (("enqueue", "enqueue"), ("drain", "work")):
            with measured(jobs, self._deployed.pids) as sample:
                words = [*_PROGRAM, word, self._url, str(jobs)]
                told = await asyncio.to_thread(run_program, words, self._environment)
                ended = time.perf_counter()
                if mode == "drain":
                    await self._all_committed()
            sample.count, sample.seconds = told.jobs, told.seconds
            sample.cpu["client" if mode == "enqueue" else "worker"] = told.cpu
            sample.values = {"rows behind s": time.perf_counter() - ended}
            found.append((f"{_OURS} {mode}", sample))
        latency = await asyncio.to_thread(trickle, _PROGRAM, self._url, PINGS, self._environment)
        await self._all_committed()
        return [*found, (f"{_OURS} latency", latency)]

    async def _all_committed(self) -> None:
        """Until no row of ours is open: they were all there before. Raises RuntimeError after a bound."""
        until = time.monotonic() + _BOUND_SECONDS
        ours = f"(SELECT id FROM {scopes.name} WHERE slug = '{_SCOPE}')"
        query = f"SELECT COUNT(*) FROM {messages.name} WHERE scope_id IN {ours} AND state <> 5"
        while int(await asyncio.to_thread(self._deployed.mariadb.run, query, "bench")):
            if time.monotonic() > until:
                raise RuntimeError(f"rows are behind after {_BOUND_SECONDS:.0f} s")
            await asyncio.sleep(0.05)


def worker_rows(samples: Mapping[str, list[Sample]]) -> list[Row]:
    """Ours, with the goals where the peers that they name have run."""
    drained = samples[f"{_OURS} drain"]
    python = _fastest(samples)
    rows = [
        _row("enqueue", samples[f"{_OURS} enqueue"], "batches of 500, each committed when it is answered")
    ]
    if python:
        rows.append(_against(f"{_OURS} drain", drained, samples[f"{python} drain"], python, 5.0))
    else:
        rows.append(_row("drain", drained, _ONE_PROCESS))
    if f"{NODE} drain" in samples:
        rows.append(_against(f"{_OURS}, to {NODE} on Node", drained, samples[f"{NODE} drain"], NODE, 1.5))
    return [*rows, *_latencies(samples)]


def _fastest(samples: Mapping[str, list[Sample]]) -> str:
    """The Python peer that drains fastest, "" if none has run."""
    ran = [name for name in PYTHON if f"{name} drain" in samples]
    return max(ran, key=lambda name: statistics.median(s.rate for s in samples[f"{name} drain"]), default="")


def _against(name: str, ours: list[Sample], theirs: list[Sample], peer: str, least: float) -> Row:
    """Of the rounds that both have run."""
    both = min(len(ours), len(theirs))
    row = compare(
        SECTION, name, "jobs/s", ours[:both], theirs[:both],
        reference=f"{peer} drain", at_least=least, durability=_ROWS, note=_ONE_PROCESS,
    )  # fmt: skip
    row.goal = f"≥ {least:g} × {peer}"
    return row


def _row(mode: str, samples: list[Sample], note: str) -> Row:
    return Row(
        section=SECTION,
        name=f"{_OURS} {mode}",
        unit="jobs/s",
        value=Spread.of([sample.rate for sample in samples]),
        cpu_ms=cpu_ms(samples),
        durability=_ROWS,
        note=note,
    )


def _latencies(samples: Mapping[str, list[Sample]]) -> Iterator[Row]:
    """p50 of single jobs, ours beside the fastest of the others."""
    medians = {
        name: Spread.of([sample.values["p50 ms"] for sample in samples[f"{name} latency"]])
        for name in (_OURS, *WORKERS)
        if f"{name} latency" in samples
    }
    others = {name: spread for name, spread in medians.items() if name != _OURS}
    best = min(others, key=lambda name: others[name].median, default="")
    for name, spread in medians.items():
        judged = name == _OURS and best
        yield Row(
            section=SECTION,
            name=f"{name} latency, publish to handler start, p50",
            unit="ms",
            value=spread,
            reference=best if judged else "",
            reference_value=others[best] if judged else None,
            goal=f"below the fastest of the others ({best})" if judged else "",
            met=spread.median < others[best].median if judged else None,
            details={"p99 ms": statistics.median(s.values["p99 ms"] for s in samples[f"{name} latency"])},
        )
