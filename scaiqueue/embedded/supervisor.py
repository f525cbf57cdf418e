"""Runs child processes as one group: what dies is started again, one signal ends all."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scaiqueue.embedded.children import die_with_parent

REFUSED = 2
"""Exit status of a process whose settings make no sense: starting it again would not help."""

_FIRST_DELAY_S = 0.2
_LONGEST_DELAY_S = 10.0
_STEADY_S = 30.0


@dataclass(frozen=True)
class Child:
    """One process of the group.

    `ready` answers whether it serves; the next child is started when it does. Children of the same
    `rank` end together, the highest rank first; each has `grace_s` to end after SIGTERM.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    ready: Callable[[], Awaitable[bool]] | None = None
    rank: int = 1
    grace_s: float = 7.0


class ChildRefused(RuntimeError):
    """A child said that its settings make no sense; the whole group ends."""


class Supervisor:
    """Start children with `add`, wait with `run_until_stopped`, end them with `stop`."""

    def __init__(self, report: Callable[[str], None] | None = None) -> None:
        self._report = report or (lambda line: print(line, file=sys.stderr, flush=True))
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._children: dict[str, Child] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the children that run now, by name."""
        return {name: process.pid for name, process in self._running.items()}

    async def add(self, child: Child) -> None:
        """Start a child, keep it alive from now on, and wait until it is ready.

        Returns early when the group is being stopped. Raises ChildRefused.
        """
        self._children[child.name] = child
        keeper = asyncio.create_task(self._keep(child), name=f"keep-{child.name}")
        self._keepers.append(keeper)
        if child.ready is None:
            return
        while not self._stopping.is_set():
            if keeper.done():
                keeper.result()
            if child.name in self._running and await child.ready():
                return
            await self._pause(0.02)

    def request_stop(self) -> None:
        """May be called from a signal handler."""
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    async def run_until_stopped(self) -> None:
        """Wait for `request_stop`, or raise ChildRefused."""
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([stopping, *self._keepers], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        for keeper in self._keepers:
            if keeper.done():
                keeper.result()

    async def stop(self) -> None:
        """End all children, the highest rank first."""
        self._stopping.set()
        for rank in sorted({child.rank for child in self._children.values()}, reverse=True):
            names = [child.name for child in self._children.values() if child.rank == rank]
            await asyncio.gather(*(self._end(name) for name in names))
        await asyncio.gather(*self._keepers, return_exceptions=True)

    async def _end(self, name: str) -> None:
        process = self._running.get(name)
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), self._children[name].grace_s)
        except TimeoutError:
            self._report(f"{name} did not end in time and was killed")
            process.kill()
            await process.wait()

    async def _keep(self, child: Child) -> None:
        delay = _FIRST_DELAY_S
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            began = loop.time()
            process = self._running[child.name] = await asyncio.create_subprocess_exec(
                *child.command,
                stdin=asyncio.subprocess.DEVNULL,
                env={**os.environ, **child.environment},
                cwd=child.folder,
                # Its own process group: Ctrl-C reaches the supervisor only, which ends all in order.
                process_group=0,
                preexec_fn=die_with_parent,
            )
            status = await process.wait()
            del self._running[child.name]
            if self._stopping.is_set():
                return
            if status == REFUSED:
                raise ChildRefused(f"{child.name} refused to start")
            delay = _FIRST_DELAY_S if loop.time() - began > _STEADY_S else min(delay * 2, _LONGEST_DELAY_S)
            self._report(f"{child.name} ended with status {status}; starting it again in {delay:.1f} s")
            await self._pause(delay)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return
