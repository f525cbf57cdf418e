"""The scripts called directly, against the floor scripts of loadtest/floors."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from redis import Redis

from loadtest.bench.measure import ROUNDS, Row, Sample, Spread, compare, cpu_ms, measured
from loadtest.bench.pipeline import Packed, Pipeline, pack_call
from loadtest.bench.workload import HEADER, Field, all_ok, bodies, leases, new_ids
from scaiqueue.records import join_envelope
from tests.servers import RedisServer

SECTION = "scripts"
FLOORS = Path(__file__).parents[1] / "floors"
WINDOW = {1: 64, 100: 4}
VERBS = ("publish", "claim", "complete")
MEMORY_MESSAGES = 50_000
CLAIMS_PER_ROUND = 500
FIRST_DEPTH, DEPTHS = 1_000, (100_000, 1_000_000)
_FILL = 500
NO_AOF = "Redis without append-only file: index only"


def run(*, quick: bool = False, deep: bool = False) -> list[Row]:
    """All cases. `deep` adds ten million pending messages (6 GB of memory)."""
    rows = []
    with RedisServer() as server:
        for kind, per_call, count in (("200 B", 1, 5_000), ("200 B", 100, 20_000), ("webhooks", 100, 2_000)):
            rows += _verbs(server, kind, per_call, count // (4 if quick else 1))
        rows.append(_memory(server, MEMORY_MESSAGES // (10 if quick else 1)))
    depths = DEPTHS[:1] if quick else (*DEPTHS, 10_000_000) if deep else DEPTHS
    with RedisServer() as server:
        rows += _depths(server, depths)
    return rows


def _verbs(server: RedisServer, kind: str, per_call: int, count: int) -> list[Row]:
    ours: dict[str, list[Sample]] = {verb: [] for verb in VERBS}
    floor: dict[str, list[Sample]] = {verb: [] for verb in VERBS}
    contents = bodies(kind, count)
    with server.client() as client:
        for _ in range(ROUNDS):
            for verb, sample in _our_life(server, client, contents, per_call).items():
                ours[verb].append(sample)
            for verb, sample in _floor_life(server, client, contents, per_call).items():
                floor[verb].append(sample)
    return [
        compare(
            SECTION,
            f"{verb} {per_call} per call, {kind}",
            "messages/s",
            ours[verb],
            floor[verb],
            reference="floor script",
            server="redis",
            at_least=0.75 if kind == "200 B" else None,
            durability=NO_AOF,
        )
        for verb in VERBS
    ]


def _our_life(server: RedisServer, client: Redis, contents: list[bytes], per_call: int) -> dict[str, Sample]:
    client.flushall()
    field = Field(client)
    queue = field.queue("jobs", visibility_ms=600_000)
    count, found = len(contents), {}
    calls = field.publishes(queue, new_ids(count), contents, per_call)
    found["publish"], replies = _timed(server, calls, count, per_call)
    all_ok(replies)
    found["claim"], replies = _timed(server, field.claims(queue, count, per_call), count, per_call)
    held = leases(replies)
    if len(held) != count:
        raise RuntimeError(f"{len(held)} of {count} messages were claimed")
    found["complete"], replies = _timed(server, field.completes(held, per_call), count, per_call)
    all_ok(replies)
    journal = client.xlen(field.scope.shard.journal)
    found["publish"].values["journal entries per message, whole life"] = journal / count
    return found


def _floor_life(
    server: RedisServer, client: Redis, contents: list[bytes], per_call: int
) -> dict[str, Sample]:
    """The same messages, with the same envelope, through the least scripts there are."""
    client.flushall()
    sha1 = {verb: client.script_load((FLOORS / f"{verb}.lua").read_text()) for verb in VERBS}
    count, found = len(contents), {}
    ids = new_ids(count)
    publishes: list[Packed] = []
    for at in range(0, count, per_call):
        batch = ids[at : at + per_call]
        pairs = [
            part
            for id, body in zip(batch, contents[at : at + per_call], strict=True)
            for part in (id, join_envelope(HEADER, body))
        ]
        scores = [part for place, id in enumerate(batch, at) for part in (place, id)]
        keys = ["body", "pending", "meta", "journal"]
        args = [len(batch), *pairs, *scores, "".join(batch)]
        publishes.append(pack_call(sha1["publish"], keys, args))
    found["publish"], _ = _timed(server, publishes, count, per_call)
    until = int(time.time() * 1000) + 600_000
    claim = pack_call(sha1["claim"], ["body", "pending", "claimed", "meta", "journal"], [per_call, until])
    found["claim"], replies = _timed(server, [claim] * (count // per_call), count, per_call)
    held = [id for reply in replies for id in reply[0]]
    completes = [
        pack_call(sha1["complete"], ["body", "claimed", "meta", "journal"], held[at : at + per_call])
        for at in range(0, count, per_call)
    ]
    found["complete"], _ = _timed(server, completes, count, per_call)
    return found


def _timed(
    server: RedisServer, calls: list[Packed], count: int, per_call: int
) -> tuple[Sample, list[object]]:
    pipeline = Pipeline(server.socket)
    try:
        with measured(count, {"redis": server.pid}) as sample:
            replies = pipeline.run(calls, WINDOW[per_call])
    finally:
        pipeline.close()
    return sample, replies


def _memory(server: RedisServer, count: int) -> Row:
    values, entries = [], []
    with server.client() as client:
        for _ in range(ROUNDS):
            client.flushall()
            field = Field(client)
            queue = field.queue("jobs")
            before = client.info("memory")["used_memory"]
            fill(server, field, queue.slug, count)
            used = client.info("memory")["used_memory"] - before
            journal = client.memory_usage(field.scope.shard.journal, samples=0)
            values.append((used - journal) / count)
            entries.append(journal / count)
    spread = Spread.of(values)
    return Row(
        section=SECTION,
        name=f"memory of a pending message, 200 B, {count:,} of them",
        unit="bytes",
        value=spread,
        goal="≤ 600 bytes",
        met=spread.median <= 600,
        details={"journal bytes per message until trimmed": round(statistics.median(entries), 1)},
        durability=NO_AOF,
    )


def fill(server: RedisServer, field: Field, slug: str, count: int) -> None:
    pipeline = Pipeline(server.socket)
    queue = field.scope.queue(slug)
    for at in range(0, count, 50_000):
        part = min(50_000, count - at)
        calls = field.publishes(queue, new_ids(part), bodies("200 B", part), _FILL)
        all_ok(pipeline.run(calls, 4))
    pipeline.close()


def _depths(server: RedisServer, depths: tuple[int, ...]) -> list[Row]:
    """Claims one at a time, nothing pipelined, from queues of different depth in turn."""
    all_depths = (FIRST_DEPTH, *depths)
    fields: dict[int, Field] = {}
    samples: dict[int, list[Sample]] = {depth: [] for depth in all_depths}
    with server.client() as client:
        for depth in all_depths:
            fields[depth] = Field(client, scope=f"depth-{depth}")
            fields[depth].queue("jobs", visibility_ms=600_000)
            fill(server, fields[depth], "jobs", depth)
        for _ in range(ROUNDS):
            for depth, field in fields.items():
                samples[depth].append(_latencies(server, field))
                fill(server, field, "jobs", CLAIMS_PER_ROUND)
    first = samples[FIRST_DEPTH]
    rows = []
    for depth in all_depths:
        ratios = [b.values["p50 us"] / a.values["p50 us"] for a, b in zip(samples[depth], first, strict=True)]
        ratio = Spread.of(ratios)
        known = depth != FIRST_DEPTH
        values = {key: statistics.median(s.values[key] for s in samples[depth]) for key in first[0].values}
        rows.append(
            Row(
                section=SECTION,
                name=f"claim latency, {depth:,} pending",
                unit="us p50",
                value=Spread.of([s.values["p50 us"] for s in samples[depth]]),
                reference=f"{FIRST_DEPTH:,} pending" if known else "",
                ratio=ratio if known else None,
                ratio_of="latency",
                goal="≤ 1.3 × the latency at 1,000 pending" if known else "",
                met=ratio.median >= 1 / 1.3 if known else None,
                cpu_ms=cpu_ms(samples[depth]),
                details={key: round(value, 1) for key, value in values.items()},
                durability=NO_AOF,
            )
        )
    return rows


def _latencies(server: RedisServer, field: Field) -> Sample:
    pipeline = Pipeline(server.socket)
    calls = field.claims(field.scope.queue("jobs"), CLAIMS_PER_ROUND, 1)
    times = []
    with measured(CLAIMS_PER_ROUND, {"redis": server.pid}) as sample:
        for call in calls:
            began = time.perf_counter()
            reply = pipeline.run([call], 1)
            times.append(1e6 * (time.perf_counter() - began))
            all_ok(reply)
    pipeline.close()
    times.sort()
    sample.values = {"p50 us": times[len(times) // 2], "p99 us": times[len(times) * 99 // 100]}
    return sample
