"""ScaiQueue's own processes die, stall, or believe what isn't so."""

from __future__ import annotations

import asyncio

from scaiqueue.keys import Shard
from scaiqueue.persister.ownership import LEASE_MS
from tests.chaos.faults.kinds import Scene, fault
from tests.chaos.faults.redis import FSYNC_S, admin, empty, kill_without_page_cache
from tests.chaos.site import SHARDS


@fault()
async def api_kill(scene: Scene) -> None:
    """kill -9 an API process"""
    api = scene.dice.choice(scene.site.apis)
    api.kill()
    await scene.site.revive(api)


@fault()
async def apis_kill(scene: Scene) -> None:
    """kill -9 both API processes at once"""
    for api in scene.site.apis:
        api.kill()
    await scene.site.revive(*scene.site.apis)


@fault()
async def rolling_restart(scene: Scene) -> None:
    """SIGTERM to one API process after the other, each started again"""
    for api in scene.site.apis:
        await asyncio.to_thread(api.stop)
        await scene.site.revive(api)


@fault()
async def api_freeze(scene: Scene) -> None:
    """SIGSTOP an API process past its leases on the shards, then on with it"""
    api = scene.dice.choice(scene.site.apis)
    api.pause()
    await asyncio.sleep(LEASE_MS / 1000 + 1.0)
    api.resume()


@fault()
async def recovery_killed(scene: Scene) -> None:
    """FLUSHALL, and kill -9 of both API processes while they rebuild the index"""
    await empty(scene)
    await asyncio.sleep(scene.dice.uniform(0.1, 0.6))
    await apis_kill(scene)


@fault()
async def worker_kill(scene: Scene) -> None:
    """kill -9 the worker in the middle of its agents"""
    scene.site.worker.kill()
    await asyncio.sleep(1.0)
    await scene.site.revive(scene.site.worker)


@fault()
async def worker_freeze(scene: Scene) -> None:
    """SIGSTOP the worker for 3 s"""
    scene.site.worker.pause()
    await asyncio.sleep(3.0)
    scene.site.worker.resume()


@fault()
async def owners_forgotten(scene: Scene) -> None:
    """Two persisters on one shard: who owns it is forgotten, again and again"""
    async with admin(scene.site.redis) as client:
        for _ in range(20):
            await client.delete(*(Shard(number).owner for number in range(SHARDS)))
            await asyncio.sleep(0.1)


@fault(loses=FSYNC_S)
async def all_killed(scene: Scene) -> None:
    """kill -9 of everything at once"""
    site = scene.site
    for server in (site.redis, site.mariadb, *site.processes):
        server.kill()
    await site.revive(site.redis, site.mariadb)
    await site.revive(*site.processes)


@fault()
async def power_cut(scene: Scene) -> None:
    """kill -9 of everything at once, and Redis' file ends where it was up to 1 s ago"""
    site = scene.site
    await kill_without_page_cache(scene, site.mariadb, *site.processes)
    await site.revive(site.redis, site.mariadb)
    await site.revive(*site.processes)
