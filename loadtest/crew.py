"""The demo's consumers: starts them, follows what they report, kills one that holds messages."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from loadtest.consumer import Delivery, Report
from scaiqueue.embedded.children import die_with_parent

LINE_LIMIT = 64 * 2**20
END_SECONDS = 10

_report = msgspec.json.Decoder(Report)


class ConsumerError(RuntimeError):
    """A consumer ended by itself; it has said why on standard error."""


@dataclass
class Course:
    """What happened so far. `killed` is the name of the consumer that was ended, `held` what it held then."""

    deliveries: list[Delivery] = field(default_factory=list)
    completed: set[str] = field(default_factory=set)
    lost: int = 0
    killed: str = ""
    held: set[str] = field(default_factory=set)


class Crew:
    """`size` consumer processes. The first that holds messages once `kill_at` are completed gets SIGKILL."""

    def __init__(
        self, queue_url: str, scope_url: str, key: str, *, size: int, batch: int, lease_s: int, kill_at: int
    ) -> None:
        self.course = Course()
        self._arguments = [queue_url, scope_url], [str(batch), str(lease_s)]
        self._environment = {**os.environ, "SCAIQUEUE_API_KEY": key}
        self._size = size
        self._kill_at = kill_at
        self._processes: list[asyncio.subprocess.Process] = []

    async def drain(self, total: int, progress: Callable[[Course], None]) -> None:
        """Until `total` messages are completed. Raises ConsumerError."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(1, self._size + 1):
                    group.create_task(self._run(f"consumer-{number}", total, progress))
        except* ConsumerError as errors:
            raise errors.exceptions[0] from None
        finally:
            for process in self._processes:
                if process.returncode is None:
                    process.kill()
                await process.wait()

    async def _run(self, name: str, total: int, progress: Callable[[Course], None]) -> None:
        urls, numbers = self._arguments
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "loadtest.consumer", *urls, name, *numbers),
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
            process_group=0,
            preexec_fn=die_with_parent,
        )
        self._processes.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        course = self.course
        while line := await process.stdout.readline():
            report = _report.decode(line)
            course.deliveries += report.claimed
            course.completed |= set(report.completed)
            course.lost += len(report.lost)
            if report.claimed and not course.killed and len(course.completed) >= self._kill_at:
                # It waits for leave to go on, so it surely holds all that it has just reported.
                process.kill()
                course.killed, course.held = name, {one.id for one in report.claimed}
            elif report.claimed:
                process.stdin.write(b"go\n")
            progress(course)
            if len(course.completed) >= total:
                self._dismiss()
        await process.wait()
        if len(course.completed) < total and course.killed != name:
            raise ConsumerError(f"{name} ended with status {process.returncode}")

    def _dismiss(self) -> None:
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
