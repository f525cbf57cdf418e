"""Counts jobs in a worker and tells how long they took, from the first one's start to the last one's."""

import itertools
import json
import os
import resource
import sys
import time

ARGUMENT = "x" * 200


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def tell(jobs: int, seconds: float, cpu_seconds: float) -> None:
    line = json.dumps({"jobs": jobs, "seconds": seconds, "cpu": cpu_seconds})
    os.write(1, f"\nRESULT {line}\n".encode())


def told(jobs: int, enqueue) -> None:  # type: ignore[no-untyped-def]
    """Run `enqueue()` and tell its time."""
    began, used = time.perf_counter(), cpu()
    enqueue()
    tell(jobs, time.perf_counter() - began, cpu() - used)


class Tally:
    """`tick` at each job's start; at the last the process has told its result, and `ended` ends it."""

    def __init__(self) -> None:
        self.jobs = int(sys.argv[3])
        self._numbers = itertools.count(1)
        self._began = self._cpu = 0.0
        self.ended = lambda: os._exit(0)

    def tick(self) -> None:
        number = next(self._numbers)
        if number == 1:
            self._began, self._cpu = time.perf_counter(), cpu()
        if number == self.jobs:
            tell(self.jobs - 1, time.perf_counter() - self._began, cpu() - self._cpu)
            self.ended()
