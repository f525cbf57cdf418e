"""Redis dies, stalls, forgets, or comes back older than it was."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis

from scaiqueue.moments import now_ms
from scaiqueue.persister.journal import after
from scaiqueue.records import Version
from scaiqueue.rows.tables import journal_positions
from tests.chaos.faults.kinds import Scene, fault
from tests.chaos.site import ALWAYS, DATABASE, EVERYSEC
from tests.eventually import eventually
from tests.servers import RedisServer, Server

# What everysec promises.
FSYNC_S = 1.0
POSITION = f"SELECT epoch, n FROM {journal_positions.name} WHERE shard = "


@asynccontextmanager
async def admin(server: RedisServer) -> AsyncIterator[Redis]:
    """A client beside the links."""
    async with Redis.from_url(server.url) as client:
        yield client


def aof(server: RedisServer) -> Path:
    """The file that grows."""
    return max((server.folder / "appendonlydir").glob("*.incr.aof"), key=lambda file: file.stat().st_mtime)


@fault(loses=FSYNC_S)
async def redis_kill(scene: Scene) -> None:
    """kill -9 Redis, append-only file everysec"""
    scene.site.redis.kill()
    await scene.site.revive(scene.site.redis)


@fault()
async def redis_kill_always(scene: Scene) -> None:
    """kill -9 Redis, append-only file always"""
    server = scene.site.redis
    async with admin(server) as client:
        await client.config_set("appendfsync", ALWAYS)
        # So that what was written before is on disk as well.
        await eventually(lambda: _flushed(client))
    server.kill()
    server.options["appendfsync"] = EVERYSEC
    await scene.site.revive(server)


async def _flushed(client: Redis) -> bool:
    return bool((await client.info("persistence"))["aof_pending_bio_fsync"] == 0)


@fault(loses=FSYNC_S)
async def redis_kill_twice(scene: Scene) -> None:
    """kill -9 Redis, and again while recovery is at work"""
    for _ in range(2):
        scene.site.redis.kill()
        await scene.site.revive(scene.site.redis)
        await asyncio.sleep(scene.dice.uniform(0.0, 0.3))


@fault()
async def redis_restart(scene: Scene) -> None:
    """Redis is stopped in order and started again"""
    await asyncio.to_thread(scene.site.redis.stop)
    await scene.site.revive(scene.site.redis)


@fault()
async def redis_flushall(scene: Scene) -> None:
    """FLUSHALL: Redis lost everything"""
    await empty(scene)


async def empty(scene: Scene) -> None:
    """What is lost begins with the first journal entry that the rows do not have."""
    site = scene.site
    journal = site.scope.shard.journal
    async with admin(site.redis) as client:
        position = await asyncio.to_thread(site.mariadb.run, f"{POSITION}{site.shard}", DATABASE)
        epoch, n = map(int, position.split())
        missing = await client.xrange(journal, min="(" + after(Version(epoch, n)), count=1)
        behind_s = (now_ms() - int(missing[0][1][b"at"])) / 1000 if missing else 0.0
        scene.strikes_now(lost_since=time.monotonic() - behind_s)
        await client.flushall()


@fault()
async def script_flush(scene: Scene) -> None:
    """SCRIPT FLUSH, ten times, 100 ms apart"""
    async with admin(scene.site.redis) as client:
        for _ in range(10):
            await client.script_flush()
            await asyncio.sleep(0.1)


@fault()
async def redis_freeze(scene: Scene) -> None:
    """SIGSTOP Redis for 1 to 5 s"""
    scene.site.redis.pause()
    await asyncio.sleep(scene.pace * scene.dice.uniform(1.0, 5.0))
    scene.site.redis.resume()


@fault()
async def redis_promotion(scene: Scene) -> None:
    """A replica that lags is promoted, and the primary is gone"""
    site, old = scene.site, scene.site.redis
    replica = RedisServer(appendonly="yes", appendfsync=EVERYSEC)
    replica.spawn()
    await site.answered(replica)
    async with admin(replica) as client:
        await client.replicaof("127.0.0.1", old.port)
        await eventually(lambda: _in_step(client))
        # Its link is cut: what comes now is lost with the primary.
        cut = time.monotonic()
        await client.replicaof("127.0.0.1", 1)
        await asyncio.sleep(scene.dice.uniform(0.1, 0.5))
        scene.strikes_now(lost_since=cut)
        old.kill()
        await client.replicaof("NO", "ONE")
    site.promote(replica)
    for links in site.links:
        async with links.redis.suffers("refused"):
            await asyncio.sleep(0)


async def _in_step(client: Redis) -> bool:
    return bool((await client.info("replication"))["master_link_status"] == "up")


@fault()
async def aof_truncated(scene: Scene) -> None:
    """The machine under Redis loses power: the append-only file ends where it was up to 1 s ago"""
    server = scene.site.redis
    await kill_without_page_cache(scene, server)
    await scene.site.revive(server)


async def kill_without_page_cache(scene: Scene, *others: Server) -> None:
    """Kills Redis, and `others` with it; its file loses what was not surely synced, an entry cut in two."""
    server = scene.site.redis
    # What is on its way to the file is not in its size, for as long as a slow sync takes.
    size, since = aof(server).stat().st_size, time.monotonic() - FSYNC_S
    await asyncio.sleep(scene.dice.uniform(0.2, FSYNC_S))
    scene.strikes_now(lost_since=since)
    for dying in (server, *others):
        dying.kill()
    file = aof(server)
    os.truncate(file, max(0, min(size - scene.dice.randrange(64), file.stat().st_size)))


@fault()
async def aof_old(scene: Scene) -> None:
    """Redis comes back with an append-only file of 2 s ago"""
    server = scene.site.redis
    files, kept = server.folder / "appendonlydir", server.folder / "older"
    since = time.monotonic() - FSYNC_S
    await asyncio.to_thread(shutil.copytree, files, kept)
    await asyncio.sleep(2.0)
    scene.strikes_now(lost_since=since)
    server.kill()
    shutil.rmtree(files)
    kept.rename(files)
    await scene.site.revive(server)


@fault(loses=FSYNC_S)
async def rewrite_killed(scene: Scene) -> None:
    """kill -9 Redis in the middle of a rewrite of its append-only file"""
    async with admin(scene.site.redis) as client:
        await client.bgrewriteaof()
        await asyncio.sleep(scene.dice.uniform(0.0, 0.05))
    scene.site.redis.kill()
    await scene.site.revive(scene.site.redis)


@fault()
async def memory_full(scene: Scene) -> None:
    """maxmemory is reached for 2 s, then raised"""
    async with admin(scene.site.redis) as client:
        used = (await client.info("memory"))["used_memory"]
        await client.config_set("maxmemory", max(used - 65536, 1))
        await asyncio.sleep(2.0)
        await client.config_set("maxmemory", 0)


@fault()
async def connections_killed(scene: Scene) -> None:
    """CLIENT KILL of every connection, five times"""
    async with admin(scene.site.redis) as client:
        for _ in range(5):
            for kind in ("normal", "pubsub"):
                await client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
            await asyncio.sleep(0.2)
