"""A private ScaiQueue to be struck: Redis, MariaDB, two API processes, a worker, and the links between."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from scaiqueue.cli.client import is_ready
from scaiqueue.keys import ScopeKeys, Shard
from tests.chaos.client import BASE
from tests.chaos.load import FIFO, LEASE_MS, PARKED, PRIORITY
from tests.chaos.proxy import Link
from tests.eventually import eventually
from tests.servers import MariaDbServer, RedisServer, Server, free_port

KEY = "sgk_chaos_key_of_the_tests_0123456789abcdef"
SHARDS = 2
DATABASE = "chaos"
PROBE = "probe"
START_WITHIN_S = 60.0
EVERYSEC, ALWAYS = "everysec", "always"


class Links:
    """One process' ways to Redis and to MariaDB."""

    def __init__(self, redis: RedisServer, mariadb: MariaDbServer) -> None:
        self.redis = Link(redis.socket)
        self.rows = Link(mariadb.socket)

    async def start(self) -> None:
        await self.redis.start()
        await self.rows.start()

    async def close(self) -> None:
        await self.redis.close()
        await self.rows.close()


class Process(Server):
    """A ScaiQueue process of `words` (api or worker) on its links."""

    def __init__(self, links: Links, *words: str) -> None:
        super().__init__()
        self.links = links
        self.words = words
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        settings = {
            "REDIS_URL": f"redis://127.0.0.1:{self.links.redis.port}/0",
            "DATABASE_URL": f"mysql+asyncmy://root@127.0.0.1:{self.links.rows.port}/{DATABASE}",
            "API_KEY": KEY,
            "SHARDS": str(SHARDS),
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "COMMIT_TIMEOUT_S": "5",
            "DATA_DIR": str(self.folder / "data"),
            "LOG_FORMAT": "json",
        }
        named = [f"SCAIQUEUE_{name}={value}" for name, value in settings.items()]
        return ["env", *named, sys.executable, "-m", "scaiqueue", *self.words]

    def answers(self) -> bool:
        return self.words[0] != "api" or is_ready(self.url)


class Usage(NamedTuple):
    """Of one process at one time."""

    rss_kib: int
    descriptors: int


class Site:
    """`redis` is whichever server is the primary now."""

    def __init__(self) -> None:
        self.redis = RedisServer(appendonly="yes", appendfsync=EVERYSEC)
        self.mariadb = MariaDbServer("--max-connections=200")
        self.links = [Links(self.redis, self.mariadb) for _ in range(4)]
        self.apis = [Process(links, "api") for links in self.links[:2]]
        self.worker = Process(self.links[2], "worker")
        self.direct = self.links[3].redis
        self.retired: list[Server] = []
        self.scope_id = ""
        self.shard = 0

    @property
    def database_url(self) -> str:
        """Around the links."""
        return self.mariadb.url(DATABASE)

    @property
    def scope(self) -> ScopeKeys:
        return ScopeKeys(Shard(self.shard), "default", self.scope_id)

    @property
    def direct_url(self) -> str:
        return f"redis://127.0.0.1:{self.direct.port}/0"

    @property
    def processes(self) -> list[Process]:
        return [*self.apis, self.worker]

    async def start(self) -> None:
        self.redis.spawn()
        self.mariadb.spawn()
        for links in self.links:
            await links.start()
        for server in (self.redis, self.mariadb):
            await self.answered(server)
        await asyncio.to_thread(self.mariadb.create_database, DATABASE)
        first, *others = self.processes
        await self.revive(first)  # it brings the tables
        await self.revive(*others)
        await self._create_scope()

    async def close(self) -> None:
        for server in (*self.processes, self.redis, self.mariadb, *self.retired):
            server.close()
        for links in self.links:
            await links.close()

    async def answered(self, server: Server) -> None:
        """Until a spawned server answers."""
        await eventually(lambda: asyncio.to_thread(server.answers), START_WITHIN_S, 0.05)

    async def revive(self, *servers: Server) -> None:
        """Start dead servers again on their data, and wait for them."""
        for server in servers:
            server.spawn()
        await asyncio.gather(*(self.answered(server) for server in servers))

    def promote(self, replica: RedisServer) -> None:
        """All links lead to the replica from now on."""
        self.retired.append(self.redis)
        self.redis = replica
        for links in self.links:
            links.redis.upstream = replica.socket

    def keep_logs(self, folder: Path) -> None:
        """Copies of what the processes said, for after the site is gone."""
        for number, process in enumerate(self.processes):
            shutil.copy(process.log, folder / f"{process.words[0]}-{number}.log")

    def usage(self) -> list[Usage | None]:
        """Of each API process, None for one that is dead."""
        return [_usage(api.process.pid) if api.running and api.process else None for api in self.apis]

    async def _create_scope(self) -> None:
        headers = {"Authorization": f"Bearer {KEY}"}
        async with aiohttp.ClientSession(self.apis[0].url, headers=headers) as session:
            scope = await _created(session, "/scopes", {"slug": "chaos", "display_name": "Chaos"})
            self.scope_id, self.shard = scope["id"], scope["shard"]
            for slug in (FIFO, PRIORITY, PARKED, PROBE):
                queue = {
                    "slug": slug,
                    "display_name": slug,
                    "ordering": "priority" if slug == PRIORITY else "fifo",
                    "visibility_timeout_s": LEASE_MS // 1000,
                    "backoff": {"strategy": "fixed", "base_s": 0.2},
                }
                await _created(session, f"/scopes/{self.scope_id}/queues", queue)


async def _created(session: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> dict[str, Any]:
    async with session.post(BASE + path, json=body) as response:
        content = await response.json()
        assert response.status == 201, content
        data: dict[str, Any] = content["data"]
        return data


def _usage(pid: int) -> Usage | None:
    process = Path(f"/proc/{pid}")
    try:
        status = (process / "status").read_text()
        rss = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
        return Usage(int(rss), len(os.listdir(process / "fd")))
    except (OSError, StopIteration):
        return None
