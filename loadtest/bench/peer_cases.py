"""Other queues doing jobs that do nothing, in turn with ScaiQueue on the same Redis."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from loadtest.bench.api_server import Deployment, deployment
from loadtest.bench.http_cases import BATCH, BATCH_IN_FLIGHT, INDEXED, Bench, timed
from loadtest.bench.measure import ROUNDS, Row, Sample, Spread, cpu_ms, measured
from loadtest.bench.pipeline import Pipeline
from loadtest.bench.whole_life import settled
from loadtest.bench.worker_cases import OUR_JOBS, PINGS, WORKERS, OurWorker, run_program, trickle, worker_rows
from loadtest.bench.workload import Field, all_ok, bodies, leases, new_ids
from loadtest.peers.catalogue import CACHE, PEERS, Peer, PeerMissing, command, installed, server_program
from tests.servers import RedisServer, Server, free_port

SECTION = "peers"
_OURS = "scaiqueue"
_ROWS = "Rows in MariaDB survive the loss of Redis; an expired lease returns."


class Beanstalkd(Server):
    """No binlog: its fastest setting."""

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()
        self.url = f"tcp://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        return [server_program("beanstalkd"), "-l", "127.0.0.1", "-p", str(self.port)]

    def answers(self) -> bool:
        return _listens(self.port)


class RabbitMq(Server):
    """A node of its own, with its own name, folders and ports; the Erlang distribution on loopback only."""

    def __init__(self) -> None:
        super().__init__()
        # The broker gives up root by itself.
        self.folder.chmod(0o777)
        self.port, self._distribution = free_port(55000), free_port()
        self._mapper = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def command(self) -> Sequence[str]:
        settings = {
            "HOME": self.folder,
            "RABBITMQ_NODENAME": f"bench{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": self.port,
            "RABBITMQ_DIST_PORT": self._distribution,
            "RABBITMQ_MNESIA_BASE": self.folder / "data",
            "RABBITMQ_LOG_BASE": self.folder / "logs",
            "RABBITMQ_PID_FILE": self.folder / "pid",
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.folder / "plugins",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": self._mapper,
        }
        return [
            "/usr/bin/env",
            *(f"{name}={value}" for name, value in settings.items()),
            server_program("rabbitmq"),
        ]

    def answers(self) -> bool:
        return _listens(self.port)

    @property
    def beam(self) -> int:
        """The Erlang machine."""
        return next((pid for pid, name in self._processes() if "beam" in name), self.pid)

    def _processes(self) -> Iterator[tuple[int, str]]:
        """All that the node's script has started, the daemon of port numbers too: they carry its folder."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if str(self.folder).encode() in (entry / "environ").read_bytes():
                    yield int(entry.name), (entry / "comm").read_text()
            except OSError:
                continue

    def close(self) -> None:
        for pid, _ in list(self._processes()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        super().close()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def run(*, quick: bool = False) -> tuple[list[Row], dict[str, str]]:
    """Rows, and the peers that could not be run with the reason."""
    missing: dict[str, str] = {}
    samples: dict[str, list[Sample]] = {}
    with RedisServer() as redis, deployment(redis) as deployed:
        commands, servers = _prepared(missing)
        bench, worker = Bench(deployed), OurWorker(deployed)
        jobs = OUR_JOBS // (4 if quick else 1)
        try:
            for _ in range(ROUNDS):
                for name, sample in (*_direct(redis), *(await _http(bench)), *(await worker.round(jobs))):
                    samples.setdefault(name, []).append(sample)
                # What ours left to the persister must not slow the others down.
                await settled(deployed)
                for peer in PEERS:
                    if peer.name not in missing:
                        count = max(500, peer.jobs // (4 if quick else 1))
                        await _measure(peer, commands[peer.name], redis, servers, count, samples, missing)
        finally:
            for server in servers.values():
                server.close()
    rows = [
        _ours(name, found)
        for name, found in samples.items()
        if name.startswith(_OURS) and not name.startswith(f"{_OURS} worker")
    ]
    rows += worker_rows(samples)
    for peer in PEERS:
        if peer.name not in missing:
            rows += [_row(peer, mode, samples[f"{peer.name} {mode}"]) for mode in ("enqueue", "drain")]
    return rows, missing


def _prepared(missing: dict[str, str]) -> tuple[dict[str, list[str]], dict[str, Server]]:
    """Install all, start the servers that are needed beside Redis."""
    commands: dict[str, list[str]] = {}
    servers: dict[str, Server] = {}
    kinds: dict[str, type[Server]] = {"beanstalkd": Beanstalkd, "rabbitmq": RabbitMq}
    for peer in PEERS:
        print(f"  {peer.name}", file=sys.stderr, flush=True)
        try:
            commands[peer.name] = command(peer)
            if peer.server in kinds:
                server_program(peer.server)
                servers[peer.server] = kinds[peer.server]().start()
        except (PeerMissing, RuntimeError) as error:
            missing[peer.name] = str(error)
    return commands, servers


async def _measure(
    peer: Peer, words: list[str], redis: RedisServer, servers: dict[str, Server], jobs: int,
    samples: dict[str, list[Sample]], missing: dict[str, str],
) -> None:  # fmt: skip
    """Enqueue and drain, in a database of Redis that nobody else uses."""
    url, pid = redis.tcp_url.removesuffix("/0") + "/1", redis.pid
    if peer.server == "redis":
        with redis.client() as client:
            client.select(1)
            client.flushdb()
    else:
        server = servers[peer.server]
        url, pid = server.url, server.beam if isinstance(server, RabbitMq) else server.pid  # type: ignore[attr-defined]
    for mode, word in (("enqueue", "enqueue"), ("drain", "work")):
        try:
            with measured(jobs, {peer.server: pid}) as sample:
                told = await asyncio.to_thread(
                    run_program, [*words, word, url, str(jobs)], _environment(peer)
                )
        except PeerMissing as error:
            missing[peer.name] = f"{mode}: {error}"
            return
        sample.count, sample.seconds = told.jobs, told.seconds
        sample.cpu["client" if mode == "enqueue" else "worker"] = told.cpu
        samples.setdefault(f"{peer.name} {mode}", []).append(sample)
    if peer.name in WORKERS:
        try:
            latency = await asyncio.to_thread(trickle, words, url, PINGS, _environment(peer))
        except PeerMissing as error:
            missing[f"{peer.name} latency"] = str(error)
        else:
            samples.setdefault(f"{peer.name} latency", []).append(latency)


def _environment(peer: Peer) -> dict[str, str]:
    return {"PEER_FOLDER": str(CACHE / peer.name), "C_FORCE_ROOT": "1"}


def _direct(redis: RedisServer) -> list[tuple[str, Sample]]:
    """The scripts by one connection, 100 messages a call; a drain is claim and complete."""
    count = 10_000
    with redis.client() as client:
        # A shard that the deployment does not have, so that its persister leaves it alone.
        field = Field(client, scope=new_ids(1)[0], shard=1000)
        queue = field.queue("jobs", visibility_ms=600_000)
        pipeline = Pipeline(redis.socket)
        pids = {"redis": redis.pid, "client": os.getpid()}
        publishes = field.publishes(queue, new_ids(count), bodies("200 B", count), BATCH)
        with measured(count, pids) as enqueue:
            replies = pipeline.run(publishes, 4)
        all_ok(replies)
        with measured(count, pids) as drain:
            held = leases(pipeline.run(field.claims(queue, count, BATCH), 4))
            replies = pipeline.run(field.completes(held, BATCH), 4)
        all_ok(replies)
        pipeline.close()
        client.delete(*client.keys("sq:{1000}:*"))
    return [(f"{_OURS} scripts enqueue", enqueue), (f"{_OURS} scripts drain", drain)]


async def _http(bench: Bench) -> list[tuple[str, Sample]]:
    """One API process, 100 messages a call; a drain finishes a batch and takes the next in one call."""
    deployed: Deployment = bench.deployed
    pids = {**deployed.pids, "client": os.getpid()}
    found = []
    for mode, prepare in (("enqueue", bench.batches("200 B")), ("drain", bench.finish_and_take)):
        next_request = prepare(60)
        sample = await timed(pids, deployed.api, BATCH_IN_FLIGHT, next_request, 60, BATCH)
        found.append((f"{_OURS} HTTP {mode}", sample))
    return found


def _ours(name: str, samples: list[Sample]) -> Row:
    http = "HTTP" in name
    return Row(
        section=SECTION,
        name=name,
        unit="jobs/s",
        value=Spread.of([sample.rate for sample in samples]),
        cpu_ms=cpu_ms(samples),
        durability=f"{INDEXED}. {_ROWS}"
        if http
        else f"Index of Redis; rows by a persister, not running here. {_ROWS}",
        note="batches of 100" + (", rows written meanwhile by the same process" if http else ", pipelined"),
    )


def _row(peer: Peer, mode: str, samples: list[Sample]) -> Row:
    return Row(
        section=SECTION,
        name=f"{peer.name} {mode}",
        unit="jobs/s",
        value=Spread.of([sample.rate for sample in samples]),
        cpu_ms=cpu_ms(samples),
        durability=peer.survives,
        note=installed(peer),
    )
