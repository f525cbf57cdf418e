"""Results of load tests as JSON, Markdown and a plot."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib as mpl
import msgspec

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "scaiqueue"

from matplotlib import pyplot  # noqa: E402  (the backend is chosen first)


class Stat(msgspec.Struct):
    """Of one kind of call; times in ms."""

    name: str
    requests: int
    failures: int
    requests_per_second: float
    p50: float
    p95: float
    p99: float
    p999: float


class Case(msgspec.Struct):
    """One scenario at one rate (0: closed loop); messages a second."""

    scenario: str
    rate: float
    tasks_per_second: float
    published: float
    claimed: float
    completed: float
    stats: list[Stat]

    @property
    def p99(self) -> float:
        """Of the slowest kind of call."""
        return max(stat.p99 for stat in self.stats)


class Step(msgspec.Struct):
    """Of the sweep: what was asked for, and what came of it."""

    asked: float
    case: Case


def knee(steps: list[Step]) -> Step | None:
    """The last step that kept its rate with a p99 of at most four times the first step's.

    90 % is kept: a short step loses its first second.
    """
    if not steps:
        return None
    bound = 4 * steps[0].case.p99
    held = [s for s in steps if s.case.tasks_per_second >= 0.9 * s.asked and s.case.p99 <= bound]
    return held[-1] if held else None


def write(cases: list[Case], steps: list[Step], swept: str, conditions: str, folder: Path) -> None:
    """load.json, load.md and, where there was a sweep, load.svg and load.png."""
    content = msgspec.json.encode({"conditions": conditions, "cases": cases, "sweep": steps})
    (folder / "load.json").write_bytes(msgspec.json.format(content, indent=1) + b"\n")
    (folder / "load.md").write_text(_markdown(cases, steps, swept, conditions))
    if steps:
        _plot(steps, swept, folder / "load.svg")


def _markdown(cases: list[Case], steps: list[Step], swept: str, conditions: str) -> str:
    load = os.getloadavg()[0]
    lines = [
        "# Load test results",
        "",
        f"One API process, its agents and Locust on {os.cpu_count()} CPUs, webhook bodies; {conditions}. "
        f"Load average at the end {load:.1f}.",
        "",
        "| scenario | published/s | claimed/s | completed/s | call | calls/s "
        "| p50 ms | p95 ms | p99 ms | p99.9 ms | errors |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case in cases:
        moved = f"{case.published:,.0f} | {case.claimed:,.0f} | {case.completed:,.0f}"
        lines += [f"| {case.scenario} | {moved} | {_cells(stat)} |" for stat in case.stats]
    if steps:
        best = knee(steps)
        lines += [
            "",
            f"## {swept} at fixed rates",
            "",
            f"The knee: {best.asked:,.0f} tasks/s." if best else "No step kept its rate.",
            "",
            "| asked tasks/s | done tasks/s | p99 ms of the slowest call | errors |",
            "|---|---|---|---|",
            *(
                f"| {s.asked:,.0f} | {s.case.tasks_per_second:,.0f} | {s.case.p99:,.0f} "
                f"| {sum(stat.failures for stat in s.case.stats)} |"
                for s in steps
            ),
        ]
    return "\n".join([*lines, ""])


def _cells(stat: Stat) -> str:
    times = " | ".join(f"{value:,.0f}" for value in (stat.p50, stat.p95, stat.p99, stat.p999))
    return f"{stat.name} | {stat.requests_per_second:,.0f} | {times} | {stat.failures}"


def _plot(steps: list[Step], swept: str, file: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    done = [step.case.tasks_per_second for step in steps]
    for label, name in (("p50", "p50"), ("p95", "p95"), ("p99", "p99"), ("p99.9", "p999")):
        axes.plot(done, [max(getattr(s, name) for s in step.case.stats) for step in steps], "o-", label=label)
    if best := knee(steps):
        axes.axvline(best.case.tasks_per_second, color="black", linestyle=":", label="knee")
    axes.set(
        xlabel="tasks done a second", ylabel="latency of the slowest call, ms", yscale="log", title=swept
    )
    axes.legend()
    figure.savefig(file.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(file.with_suffix(".png"), metadata={"Software": None})
    pyplot.close(figure)
