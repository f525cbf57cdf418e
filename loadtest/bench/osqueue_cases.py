"""osqueue's protocol: claim and complete over each transport, with nothing behind and with a backlog."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from loadtest.bench.api_server import Deployment, deployment
from loadtest.bench.http_driver import Next, Outcome, drive_lanes
from loadtest.bench.measure import ROUNDS, Row, Sample, compare, measured
from loadtest.bench.socket_driver import drive_socket
from scaiqueue.osqueue.messages import CLASSES, SERVICE

SECTION = "osqueue"
IN_FLIGHT, FILLING, BACKLOG = 32, 256, 50_000
FLAT = 0.85
WORKER = "worker-1"
PAYLOAD = '{"to":"user@example.com","subject":"Hello!","body":"This is message #1"}'
# The original's claim+complete a second, on two cores with its memory backend and 32 in flight.
ORIGINAL = {"REST": 1186, "Connect": 804, "WebSocket": 4971}
_LEASES = "leases live in the index of Redis; rows follow"


class Transport(NamedTuple):
    """How calls are written, and the job's id in a claim's answer."""

    name: str
    claim: Callable[[str], bytes]
    complete: Callable[[str], bytes]
    job_in: Callable[[bytes], str]


def _http(path: str, body: bytes, key: str, kind: str = "application/json") -> bytes:
    """With the body in one chunk where it is Connect's, as its client sends it."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nAuthorization: Bearer {key}\r\n"
    )
    if kind == "application/json":
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunk


def transports(key: str) -> list[Transport]:
    def proto(method: str, **fields: object) -> bytes:
        body = CLASSES[f"{method}Request"](**fields).SerializeToString()
        return _http(f"/{SERVICE}/{method}", body, key, "application/proto")

    def frame(method: str, **params: object) -> bytes:
        return json.dumps({"method": method, "params": {"workerId": WORKER, **params}})[1:].encode()

    def rest(path: str, **also: object) -> bytes:
        return _http(f"/v1/jobs{path}", json.dumps({"workerId": WORKER, **also}).encode(), key)

    return [
        Transport(
            "REST",
            lambda kind: rest("/claim", types=[kind]),
            lambda job: rest(f"/{job}/complete"),
            lambda answer: str(json.loads(answer)["jobId"]),
        ),
        Transport(
            "Connect",
            lambda kind: proto("ClaimJob", worker_id=WORKER, types=[kind]),
            lambda job: proto("CompleteJob", worker_id=WORKER, job_id=job),
            lambda answer: str(CLASSES["ClaimJobResponse"].FromString(answer).job_id),
        ),
        Transport(
            "WebSocket",
            lambda kind: frame("claimJob", types=[kind]),
            lambda job: frame("completeJob", jobId=job),
            lambda answer: str(json.loads(answer)["result"]["jobId"]),
        ),
    ]  # fmt: skip


def _cycles(transport: Transport, kind: str, count: int) -> Callable[[], Next]:
    """Of each of the calls in flight: claim, then complete what was claimed, until all have been claimed."""
    claim = transport.claim(kind)
    left = count

    def lane() -> Next:
        holding = False

        def next_request(answer: bytes) -> bytes | None:
            nonlocal left, holding
            if holding:
                holding = False
                return transport.complete(transport.job_in(answer))
            left -= 1
            holding = left >= 0
            return claim if holding else None

        return next_request

    return lane


async def _drive(deployed: Deployment, transport: Transport, lanes: Callable[[], Next]) -> Outcome:
    if transport.name == "WebSocket":
        return await drive_socket(deployed.api.port, deployed.key, IN_FLIGHT, lanes)
    return await drive_lanes(deployed.api.port, IN_FLIGHT, lanes)


async def _submit(deployed: Deployment, kind: str, count: int) -> None:
    """So many jobs, by WebSocket."""
    params = {"payload": json.loads(PAYLOAD), "type": kind}
    call = json.dumps({"method": "submitJob", "params": params})[1:].encode()
    calls: Iterator[bytes] = (call for _ in range(count))
    outcome = await drive_socket(
        deployed.api.port, deployed.key, FILLING, lambda: lambda _: next(calls, None)
    )
    _check(outcome, count)


def _check(outcome: Outcome, calls: int) -> None:
    if outcome.refused or len(outcome.latencies) != calls:
        raise RuntimeError(
            f"{len(outcome.latencies)} of {calls} calls answered, {outcome.refused} refused: "
            f"{outcome.first_refusal[:300]!r}"
        )


async def run(*, quick: bool = False) -> list[Row]:
    """Rounds with no backlog and with one take turns: two types of one deployment."""
    count, backlog = (1000, 5000) if quick else (6000, BACKLOG)
    command = ("osqueue", "--osqueue-port", "PORT")
    with deployment(command=command) as deployed:
        await _submit(deployed, "deep", backlog)
        chosen = transports(deployed.key)
        shallow: dict[str, list[Sample]] = {transport.name: [] for transport in chosen}
        deep: dict[str, list[Sample]] = {transport.name: [] for transport in chosen}
        for _ in range(ROUNDS):
            for transport in chosen:
                for kind, samples in (("shallow", shallow), ("deep", deep)):
                    await _submit(deployed, kind, count)
                    samples[transport.name].append(await _round(deployed, transport, kind, count))
    return [_row(name, shallow[name], deep[name], backlog) for name in shallow]


async def _round(deployed: Deployment, transport: Transport, kind: str, count: int) -> Sample:
    pids = {**deployed.pids, "driver": os.getpid()}
    with measured(count, pids) as sample:
        outcome = await _drive(deployed, transport, _cycles(transport, kind, count))
    _check(outcome, 2 * count)
    sample.values = {"p50 ms": outcome.quantile(0.5), "p99 ms": outcome.quantile(0.99)}
    return sample


def _row(name: str, shallow: list[Sample], deep: list[Sample], backlog: int) -> Row:
    row = compare(
        SECTION, f"claim+complete, {name}, {backlog:,} jobs behind", "cycles/s", deep, shallow,
        reference="the same, nothing behind", durability=_LEASES, server="api",
    )  # fmt: skip
    assert row.ratio is not None
    wanted = 2 * ORIGINAL[name]
    row.goal = f"≥ {wanted:,}/s, twice the original's without a backlog, and ≥ {FLAT} × nothing behind"
    row.met = row.value.median >= wanted and row.ratio.median >= FLAT
    return row
