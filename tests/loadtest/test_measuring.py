"""The benchmark's own parts: the driver's counts, the baseline's verdict, the pipelined client."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.bench import baseline
from loadtest.bench.api_server import floor_server
from loadtest.bench.http_driver import drive, each, repeated, request
from loadtest.bench.measure import Row, Sample, Spread, compare
from loadtest.bench.pipeline import Pipeline, pack
from loadtest.bench.report import Machine, Results, write
from loadtest.bench.worker_cases import worker_rows
from loadtest.bench.workload import Field, all_ok, bodies, leases, new_ids
from tests.servers import RedisServer


def row(ratio: float, best: float) -> Row:
    one = Spread(1.0, 1.0, 1.0)
    return Row(
        section="scripts", name="claim", unit="messages/s", value=one, ratio=Spread(ratio, ratio, best)
    )


def test_a_loss_counts_when_even_the_best_round_is_below_the_baseline(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    baseline.save([row(0.8, 0.9)], file)
    assert baseline.losses([row(0.7, 0.75)], file) == []
    assert baseline.losses([row(0.6, 0.85)], file) == []
    assert baseline.losses([row(0.6, 0.7)], file) == ["scripts: claim: ratio 0.60, baseline 0.80"]


def test_a_ratio_is_of_each_round_with_its_own_reference() -> None:
    ours = [Sample(100, seconds) for seconds in (1.0, 2.0, 4.0)]
    floor = [Sample(100, seconds) for seconds in (0.5, 1.0, 2.0)]
    found = compare("scripts", "claim", "messages/s", ours, floor, reference="floor", at_least=0.75)
    assert (found.ratio, found.met) == (Spread(0.5, 0.5, 0.5), False)


async def test_the_driver_counts_answers_and_refusals() -> None:
    with floor_server() as server:
        right = request("/messages", b'{"type":"t","body":{"n":1}}')
        outcome = await drive(server.port, 4, repeated(right, 30))
        assert (len(outcome.latencies), outcome.refused) == (30, 0)
        paced = await drive(server.port, 4, repeated(right, 20), rate=500)
        assert len(paced.latencies) == 20
        outcome = await drive(server.port, 2, each([right, request("/messages", b"{}"), right]))
        assert (len(outcome.latencies), outcome.refused) == (3, 1)
        with pytest.raises(ValueError, match="no more"):
            await drive(server.port, 1, _fails)


def _fails(_: bytes) -> bytes:
    raise ValueError("no more")


def test_the_pipelined_client_keeps_the_order(redis_server: RedisServer) -> None:
    pipeline = Pipeline(redis_server.socket)
    replies = pipeline.run([pack("ECHO", f"{number}") for number in range(500)], 64)
    assert replies == [f"{number}".encode() for number in range(500)]
    pipeline.close()


def test_a_life_by_the_scripts_as_it_is_measured(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.flushall()
        field = Field(client)
        queue = field.queue("jobs")
        pipeline = Pipeline(redis_server.socket)
        all_ok(pipeline.run(field.publishes(queue, new_ids(20), bodies("200 B", 20), 10), 4))
        held = leases(pipeline.run(field.claims(queue, 20, 10), 4))
        assert len(held) == 20
        all_ok(pipeline.run(field.completes(held, 10), 4))
        with pytest.raises(RuntimeError, match="refused"):
            all_ok(pipeline.run(field.completes([(held[0][0], b"9.9")], 1), 1))
        pipeline.close()


def test_the_worker_is_held_against_the_fastest_of_the_others() -> None:
    def rounds(seconds: float, p50: float) -> list[Sample]:
        return [Sample(1000, seconds, values={"p50 ms": p50, "p99 ms": 2 * p50}) for _ in range(3)]

    seconds = {"scaiqueue worker": 0.1, "saq": 1.0, "rq": 2.0, "bullmq": 0.12}
    samples = {
        f"{name} {mode}": rounds(taken, 10 * taken)
        for name, taken in seconds.items()
        for mode in ("enqueue", "drain", "latency")
    }
    found = {row.name: (row.reference, row.met) for row in worker_rows(samples)}
    assert found["scaiqueue worker drain"] == ("saq drain", True)
    assert found["scaiqueue worker, to bullmq on Node"] == ("bullmq drain", False)
    assert found["scaiqueue worker latency, publish to handler start, p50"] == ("bullmq", True)
    alone = {name: kept for name, kept in samples.items() if name.startswith("scaiqueue")}
    assert [row.met for row in worker_rows(alone)] == [None] * 3


def test_results_name_what_was_not_run(tmp_path: Path) -> None:
    machine = Machine("a CPU", 2, "Linux", 0.1, 0.2, "now", {"redis": "8"})
    write(Results(machine, [row(0.8, 0.9)], {"rq": "no network"}), tmp_path)
    assert "- rq: no network" in (tmp_path / "bench.md").read_text()
    assert {file.suffix for file in tmp_path.iterdir()} >= {".json", ".md"}
