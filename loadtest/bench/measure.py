"""Rounds of interleaved measurements, and what is made of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

ROUNDS = 3


def cpu_seconds(pid: int) -> float:
    """CPU time of all live threads of a process so far, to the nanosecond (/proc/<pid>/task/*/schedstat)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            continue
    return total / 1e9


@dataclass
class Sample:
    """One measurement: how many things in how many seconds, and who burnt CPU for it."""

    count: int = 0
    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        return self.count / self.seconds if self.seconds else 0.0

    def per_cpu_second(self, process: str) -> float:
        """Things for each second of CPU that `process` spent."""
        return self.count / self.cpu[process] if self.cpu.get(process) else 0.0


@contextmanager
def measured(count: int, processes: Mapping[str, int]) -> Iterator[Sample]:
    """Times the block and the CPU of `processes` (name: pid) meanwhile. The block may correct `count`."""
    sample = Sample(count)
    before = {name: cpu_seconds(pid) for name, pid in processes.items()}
    began = time.perf_counter()
    yield sample
    sample.seconds = time.perf_counter() - began
    sample.cpu = {name: cpu_seconds(pid) - before[name] for name, pid in processes.items()}


class Spread(msgspec.Struct):
    """Of the rounds of one case."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


class Row(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line of the results.

    `ratio` is ours to the reference, round by round, larger is better; the baseline keeps it.
    `cpu_ms` is the CPU of each process, in ms for 1,000 things (messages, rows or requests).
    """

    section: str
    name: str
    unit: str
    value: Spread
    reference: str = ""
    reference_value: Spread | None = None
    ratio: Spread | None = None
    ratio_of: str = "rate"
    goal: str = ""
    met: bool | None = None
    durability: str = ""
    cpu_ms: dict[str, float] = {}
    reference_cpu_ms: dict[str, float] = {}
    details: dict[str, float] = {}
    note: str = ""


def cpu_ms(samples: list[Sample]) -> dict[str, float]:
    """Median CPU of each process, ms for 1,000 things."""
    names = samples[0].cpu
    return {
        name: round(statistics.median(1e6 * s.cpu[name] / max(s.count, 1) for s in samples), 3)
        for name in names
    }


def compare(
    section: str,
    name: str,
    unit: str,
    ours: list[Sample],
    floor: list[Sample],
    *,
    reference: str,
    at_least: float | None = None,
    server: str = "",
    **more: object,
) -> Row:
    """A row of our samples beside those of a floor; round i of one belongs to round i of the other.

    With `server` the ratio is of things per second of that process's CPU, else of rates.
    """
    if server:
        ratios = [
            a.per_cpu_second(server) / b.per_cpu_second(server) for a, b in zip(ours, floor, strict=True)
        ]
    else:
        ratios = [a.rate / b.rate for a, b in zip(ours, floor, strict=True)]
    ratio = Spread.of(ratios)
    names = sorted(ours[0].values)
    details = {key: round(statistics.median(s.values[key] for s in ours), 3) for key in names}
    return Row(
        section=section,
        name=name,
        unit=unit,
        value=Spread.of([s.rate for s in ours]),
        reference=reference,
        reference_value=Spread.of([s.rate for s in floor]),
        ratio=ratio,
        ratio_of=f"{server} CPU" if server else "rate",
        goal=f"≥ {at_least:.2f} × the floor" if at_least is not None else "",
        met=ratio.median >= at_least if at_least is not None else None,
        cpu_ms=cpu_ms(ours),
        reference_cpu_ms=cpu_ms(floor),
        details=details,
        **more,  # type: ignore[arg-type]
    )
