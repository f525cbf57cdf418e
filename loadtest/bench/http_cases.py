"""One API process over HTTP, against an empty typed Litestar handler on the same server and settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from loadtest.bench.api_server import Deployment, HttpServer, deployment, floor_server
from loadtest.bench.http_driver import Next, Outcome, drive, each, repeated, request
from loadtest.bench.measure import ROUNDS, Row, Sample, compare, measured
from loadtest.bench.whole_life import settled, whole_life
from loadtest.bench.workload import HEADER, bodies
from scaiqueue.api.endpoint import BASE

SECTION = "http"
SCOPE = "bench"
IN_FLIGHT, BATCH_IN_FLIGHT, BATCH = 64, 8, 100
INDEXED = "in the index of Redis when answered; a row soon after"
COMMITTED = "a committed row of MariaDB when answered"
_LEASES = "leases live in the index of Redis; rows follow"


class Claimed(msgspec.Struct):
    id: str
    claim_token: str


class ClaimAnswer(msgspec.Struct):
    data: list[Claimed]


class FinishAnswer(msgspec.Struct):
    """Of a finish that also takes the next; a plain claim's answer has no `claimed`."""

    claimed: list[Claimed] | None = None


class Case(NamedTuple):
    """`prepare` makes the requests of a round, outside the clock; `things` are messages for each request."""

    name: str
    unit: str
    things: int
    in_flight: int
    prepare: Callable[[int], Next]
    requests: int
    durability: str
    at_least: float | None = None
    goal_rate: int = 0


class Bench:
    """The requests of the cases against one deployment."""

    def __init__(self, deployed: Deployment) -> None:
        self.deployed = deployed
        deployed.ask("/scopes", {"slug": SCOPE, "display_name": SCOPE})
        self.queues = f"{BASE}/scopes/{SCOPE}/queues"
        for slug in ("publish", "claim", "finish"):
            body = {"slug": slug, "display_name": slug, "visibility_timeout_s": 3600}
            deployed.ask(f"/scopes/{SCOPE}/queues", body)

    def post(self, path: str, body: bytes) -> bytes:
        return request(path, body, self.deployed.key)

    def single(self, durability: str) -> Callable[[int], Next]:
        body = message(durability)
        return lambda count: repeated(self.post(f"{self.queues}/publish/messages", body), count)

    def batches(self, kind: str, queue: str = "publish") -> Callable[[int], Next]:
        def prepare(count: int) -> Next:
            contents = bodies(kind, count * BATCH)
            path = f"{self.queues}/{queue}/messages/batch"
            return each(
                [self.post(path, batch(contents[at : at + BATCH])) for at in range(0, len(contents), BATCH)]
            )

        return prepare

    def fill(self, queue: str, messages: int) -> None:
        """At least so many more messages in the queue."""
        content = batch(bodies("200 B", BATCH))
        for _ in range(-(-messages // BATCH)):
            self.deployed.ask(f"/scopes/{SCOPE}/queues/{queue}/messages/batch", msgspec.Raw(content))

    def claims(self, size: int) -> Callable[[int], Next]:
        def prepare(count: int) -> Next:
            self.fill("claim", size * count)
            body = b'{"batch_size":%d}' % size
            return repeated(self.post(f"{self.queues}/claim/messages/claim", body), count)

        return prepare

    def completes(self, count: int) -> Next:
        self.fill("claim", BATCH * count)
        contents = []
        for _ in range(count):
            path = f"/scopes/{SCOPE}/queues/claim/messages/claim"
            held = msgspec.convert(self.deployed.ask(path, {"batch_size": BATCH}), list[Claimed])
            contents.append(self.post(f"{BASE}/scopes/{SCOPE}/messages/complete", finish(held)))
        return each(contents)

    def finish_and_take(self, count: int) -> Next:
        """Every answer brings the messages that the next request finishes."""
        self.fill("finish", BATCH * count)
        path = f"{BASE}/scopes/{SCOPE}/messages/complete"
        first = self.post(f"{self.queues}/finish/messages/claim", b'{"batch_size":%d}' % BATCH)
        left = count

        def next_request(answer: bytes) -> bytes | None:
            nonlocal left
            left -= 1
            if left < 0:
                return None
            if not answer:
                return first
            held = taken(answer)
            return self.post(path, finish(held, b',"claim":{"queue":"finish","batch_size":%d}' % BATCH))

        return next_request


_claimed = msgspec.json.Decoder(ClaimAnswer)
_finished = msgspec.json.Decoder(FinishAnswer)


def taken(answer: bytes) -> list[Claimed]:
    """What an answer handed out: a claim's, or that of finish-and-take-next."""
    claimed = _finished.decode(answer).claimed
    return claimed if claimed is not None else _claimed.decode(answer).data


def message(durability: str = "", body: bytes | None = None) -> bytes:
    content = body if body is not None else bodies("200 B", 1)[0]
    extra = b',"durability":"%s"' % durability.encode() if durability else b""
    return HEADER[:-1] + extra + b',"body":' + content + b"}"


def batch(contents: list[bytes], durability: str = "indexed") -> bytes:
    return b'{"messages":[' + b",".join(message(durability, body) for body in contents) + b"]}"


def finish(held: list[Claimed], claim: bytes = b"") -> bytes:
    return b'{"items":' + msgspec.json.encode(held) + claim + b"}"


def cases(bench: Bench) -> list[Case]:
    """The rows of the issue; rates named as goals were set on an idle machine of this kind."""
    one, many = "requests/s", "messages/s"
    return [
        Case("publish 1, indexed", one, 1, IN_FLIGHT, bench.single("indexed"), 4000, INDEXED, 1.4),
        Case("publish 1, committed", one, 1, IN_FLIGHT, bench.single("committed"), 3000, COMMITTED),
        Case("claim 1", one, 1, IN_FLIGHT, bench.claims(1), 4000, _LEASES, 1.4),
        Case(
            "publish 100, 200 B", many, BATCH, BATCH_IN_FLIGHT, bench.batches("200 B"), 150, INDEXED, None,
            80_000,
        ),
        Case("publish 100, webhooks", many, BATCH, BATCH_IN_FLIGHT, bench.batches("webhooks"), 40, INDEXED),
        Case("claim 100", many, BATCH, BATCH_IN_FLIGHT, bench.claims(BATCH), 150, _LEASES, None, 120_000),
        Case("complete 100", many, BATCH, BATCH_IN_FLIGHT, bench.completes, 150, _LEASES, None, 150_000),
        Case(
            "finish and take next, 100", "cycles/s", BATCH, BATCH_IN_FLIGHT, bench.finish_and_take, 150,
            _LEASES, None, 90_000,
        ),
    ]  # fmt: skip


async def run(*, quick: bool = False, life_seconds: float = 20.0) -> list[Row]:
    """All cases with one process that also writes the rows, whole lives at its end; then single calls with
    a process of its own for the rows."""
    with floor_server() as floor:
        with deployment() as deployed:
            bench = Bench(deployed)
            chosen = cases(bench)
            ours, floors = await _rounds(chosen, deployed, floor, quick=quick)
            rows = [_row(case, *samples) for case, *samples in zip(chosen, ours, floors, strict=True)]
            rows.append(_committed_share(ours[0], ours[1]))
            rows.append(await _half_load(bench, ours[1]))
            rows += await whole_life(deployed, 5.0 if quick else life_seconds)
        with deployment(own_persister=True) as deployed:
            chosen = [
                case._replace(name=f"{case.name}, rows by another process")
                for case in cases(Bench(deployed))
                if case.things == 1
            ]
            ours, floors = await _rounds(chosen, deployed, floor, quick=quick)
            rows += [_row(case, *samples) for case, *samples in zip(chosen, ours, floors, strict=True)]
    return rows


async def _rounds(
    chosen: list[Case], deployed: Deployment, floor: HttpServer, *, quick: bool
) -> tuple[list[list[Sample]], list[list[Sample]]]:
    """Samples of each case, and of the floor beside it."""
    ours: list[list[Sample]] = [[] for _ in chosen]
    floors: list[list[Sample]] = [[] for _ in chosen]
    for _ in range(ROUNDS):
        for place, case in enumerate(chosen):
            count = max(case.in_flight, case.requests // (4 if quick else 1))
            ours[place].append(await _round(case, deployed, count))
            floors[place].append(await _floor_round(floor, 1000 if quick else 3000))
    return ours, floors


def _row(case: Case, ours: list[Sample], floors: list[Sample]) -> Row:
    row = compare(
        SECTION, case.name, case.unit, ours, floors,
        reference="empty Litestar POST, requests/s", server="api",
        at_least=case.at_least, durability=case.durability,
    )  # fmt: skip
    row.details["in flight"] = case.in_flight
    if case.goal_rate:
        row.goal, row.met = f"≥ {case.goal_rate:,} on an idle machine", row.value.median >= case.goal_rate
    return row


async def _round(case: Case, deployed: Deployment, count: int) -> Sample:
    next_request = case.prepare(count)
    # What earlier cases left to the persister is theirs.
    await settled(deployed)
    return await timed(
        {**deployed.pids, "driver": os.getpid()},
        deployed.api,
        case.in_flight,
        next_request,
        count,
        case.things,
    )


async def _floor_round(floor: HttpServer, count: int) -> Sample:
    content = request("/messages", message())
    pids = {"api": floor.pid, "driver": os.getpid()}
    return await timed(pids, floor, IN_FLIGHT, repeated(content, count), count, 1)


async def timed(
    pids: dict[str, int], server: HttpServer, in_flight: int, next_request: Next, count: int, things: int,
    rate: float = 0,
) -> Sample:  # fmt: skip
    """Drive, and refuse to call refusals throughput."""
    with measured(count * things, pids) as sample:
        outcome = await drive(server.port, in_flight, next_request, rate=rate)
    if outcome.refused:
        raise RuntimeError(f"{outcome.refused} calls were refused: {outcome.first_refusal[:300]!r}")
    sample.values = quantiles(outcome)
    return sample


def quantiles(outcome: Outcome) -> dict[str, float]:
    shares = {"p50 ms": 0.5, "p95 ms": 0.95, "p99 ms": 0.99, "p99.9 ms": 0.999}
    return {name: outcome.quantile(share) for name, share in shares.items()}


def _committed_share(indexed: list[Sample], committed: list[Sample]) -> Row:
    return compare(
        SECTION, "publish 1, committed to indexed", "requests/s", committed, indexed,
        reference="publish 1, indexed", at_least=0.6, durability=COMMITTED,
    )  # fmt: skip


async def _half_load(bench: Bench, committed: list[Sample]) -> Row:
    """Committed publishes at half the rate that the closed loop reached, evenly spaced."""
    rate = sorted(sample.rate for sample in committed)[len(committed) // 2] / 2
    count = max(200, int(rate * 10))
    samples = []
    for _ in range(ROUNDS):
        next_request = bench.single("committed")(count)
        # What earlier cases left to the persister is theirs.
        await settled(bench.deployed)
        pids = {**bench.deployed.pids, "driver": os.getpid()}
        samples.append(await timed(pids, bench.deployed.api, IN_FLIGHT, next_request, count, 1, rate))
    row = compare(
        SECTION, "publish 1, committed, at half load", "requests/s", samples, committed,
        reference="the same, closed loop", durability=COMMITTED,
    )  # fmt: skip
    row.ratio = None
    row.goal, row.met = "p99 < 25 ms", row.details["p99 ms"] < 25
    return row
