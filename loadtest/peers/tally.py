"""Counts jobs in a worker and tells how long they took, from the first one's start to the last one's; or how
long after its publish each of a trickle of jobs started."""

import itertools
import json
import os
import resource
import sys
import time
from collections.abc import Iterator

ARGUMENT = "x" * 200
PAUSE_S = 0.02
WARM = 100


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def tell(jobs: int, seconds: float, cpu_seconds: float, **more: float) -> None:
    line = json.dumps({"jobs": jobs, "seconds": seconds, "cpu": cpu_seconds, **more})
    os.write(1, f"\nRESULT {line}\n".encode())


def told(jobs: int, enqueue) -> None:  # type: ignore[no-untyped-def]
    """Run `enqueue()` and tell its time."""
    began, used = time.perf_counter(), cpu()
    enqueue()
    tell(jobs, time.perf_counter() - began, cpu() - used)


def trickling() -> Iterator[str]:
    """Arguments of single jobs, one after the other: some to get warm, then such that tell when they left."""
    for _ in range(WARM):
        time.sleep(PAUSE_S)
        yield ARGUMENT
    for _ in range(int(sys.argv[3])):
        time.sleep(PAUSE_S)
        yield f"{time.perf_counter()} {ARGUMENT}"


class Tally:
    """`tick` at each job's start. At the last the process has told its result, and `ended` ends it.

    In mode `wait` only jobs of a trickle count.
    """

    def __init__(self) -> None:
        self.jobs = int(sys.argv[3])
        self._waits = sys.argv[1] == "wait"
        self._numbers = itertools.count(1)
        self._began = self._cpu = 0.0
        self._latencies: list[float] = []
        self.ended = lambda: os._exit(0)

    def tick(self, argument: str) -> None:
        if self._waits:
            if argument == ARGUMENT:
                return
            self._latencies.append(time.perf_counter() - float(argument.split()[0]))
        number = next(self._numbers)
        if number == 1:
            self._began, self._cpu = time.perf_counter(), cpu()
        if number == self.jobs:
            more = {}
            if self._waits:
                ordered = sorted(self._latencies)
                more = {
                    "p50_ms": 1000 * ordered[len(ordered) // 2],
                    "p99_ms": 1000 * ordered[len(ordered) * 99 // 100],
                }
            tell(self.jobs - 1, time.perf_counter() - self._began, cpu() - self._cpu, **more)
            self.ended()
