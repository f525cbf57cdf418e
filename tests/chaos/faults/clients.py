"""What clients do to a server."""

from __future__ import annotations

import asyncio

from tests.chaos.faults.kinds import Scene, fault
from tests.chaos.load import FIFO, LEASE_MS

STORM = 500


@fault()
async def consumers_stalled(scene: Scene) -> None:
    """Every consumer stops past its leases and goes on with its old tokens"""
    scene.load.stall.set()
    await asyncio.sleep(LEASE_MS / 1000 + 1.0)
    scene.load.stall.clear()


@fault()
async def consumer_dead(scene: Scene) -> None:
    """Leases run out: claims that nobody is heard of again"""
    for _ in range(5):
        await scene.http.claim(FIFO, "dead", 10, 1000)


@fault()
async def cancel_storm(scene: Scene) -> None:
    """Hundreds of requests cancelled at random moments"""
    await storm(scene, STORM)


async def storm(scene: Scene, count: int) -> None:
    """`count` publishes and claims, at most 100 at once, most of them cancelled within 20 ms."""
    gate = asyncio.Semaphore(100)

    async def one(number: int) -> None:
        async with gate:
            call = (
                scene.http.publish(scene.load.draft())
                if number % 2
                else scene.http.claim(FIFO, f"storm-{number}", 1, 1000)
            )
            task = asyncio.ensure_future(call)
            await asyncio.wait([task], timeout=scene.dice.expovariate(1 / 0.01))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    await asyncio.gather(*(one(number) for number in range(count)))


@fault()
async def duplicate_publishes(scene: Scene) -> None:
    """The same twenty keys, each published 20 times at once"""
    for _ in range(20):
        draft = scene.load.draft()
        await asyncio.gather(*(scene.http.publish(draft) for _ in range(20)))
