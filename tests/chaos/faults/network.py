"""The network between the processes and their servers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

from tests.chaos.faults.kinds import FAULTS, Fault, Scene
from tests.chaos.proxy import Link, Trouble

SECONDS: dict[Trouble, float] = {
    "partition": 5.0,
    "half_open": 4.0,
    "latency": 5.0,
    "trickle": 4.0,
    "reset": 2.0,
    "refused": 3.0,
}
TEXTS: dict[Trouble, str] = {
    "partition": "nothing comes through",
    "half_open": "the server's side is closed and nobody is told",
    "latency": "200 ms later, each way",
    "trickle": "one byte a second",
    "reset": "connections break in the middle of a reply",
    "refused": "connections are closed at once",
}


async def _suffer(scene: Scene, links: Sequence[Link], trouble: Trouble) -> None:
    async with AsyncExitStack() as stack:
        for link in links:
            await stack.enter_async_context(link.suffers(trouble))
        await asyncio.sleep(scene.pace * SECONDS[trouble])


def _redis(trouble: Trouble) -> Fault:
    async def act(scene: Scene) -> None:
        await _suffer(scene, [links.redis for links in scene.site.links], trouble)

    act.__doc__ = f"Between everyone and Redis: {TEXTS[trouble]}"
    return Fault(f"redis-{trouble}".replace("_", "-"), act, None)


def _rows(trouble: Trouble) -> Fault:
    async def act(scene: Scene) -> None:
        await _suffer(scene, [links.rows for links in scene.site.links], trouble)

    act.__doc__ = f"Between everyone and MariaDB: {TEXTS[trouble]}"
    return Fault(f"rows-{trouble}".replace("_", "-"), act, None)


def _one(server: str) -> Fault:
    async def act(scene: Scene) -> None:
        links = scene.dice.choice(scene.site.apis).links
        await _suffer(scene, [links.redis if server == "redis" else links.rows], "partition")

    act.__doc__ = f"One API process alone is cut off from {'Redis' if server == 'redis' else 'MariaDB'}"
    return Fault(f"one-api-without-{server}", act, None)


for _trouble in SECONDS:
    for _fault in (_redis(_trouble), _rows(_trouble)):
        FAULTS[_fault.name] = _fault
for _server in ("redis", "rows"):
    _fault = _one(_server)
    FAULTS[_fault.name] = _fault
