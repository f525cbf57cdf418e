"""Results as JSON, as a Markdown table, and as a plot."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import msgspec

from loadtest.bench.measure import Row, Spread
from tests.servers import ServerError, find_program

SECTIONS = ("scripts", "expiry", "http", "waiting", "persister", "recovery", "osqueue", "peers")
RESULTS = Path(__file__).parents[1] / "results"
_LIBRARIES = (
    "redis",
    "hiredis",
    "litestar",
    "uvicorn",
    "uvloop",
    "httptools",
    "msgspec",
    "asyncmy",
    "sqlalchemy",
)
_PROGRAMS = {
    "redis-server": ("redis-server", "--version"),
    "mariadbd": ("mariadbd", "--version"),
    "node": ("node", "--version"),
    "beanstalkd": ("beanstalkd", "-v"),
}


class Machine(msgspec.Struct):
    """Where and with what was measured. Load averages tell how far the machine was shared."""

    cpu: str
    cpus: int
    system: str
    load_before: float
    load_after: float
    finished: str
    versions: dict[str, str]


class Results(msgspec.Struct):
    """`not_run` names what could not be measured, and why."""

    machine: Machine
    rows: list[Row]
    not_run: dict[str, str] = {}


def merged(results: Results, folder: Path, name: str = "bench") -> Results:
    """With the sections of the results in `folder` that this run did not measure."""
    file = folder / f"{name}.json"
    if not file.exists():
        return results
    earlier = msgspec.json.decode(file.read_bytes(), type=Results)
    measured = {row.section for row in results.rows}
    kept = [row for row in earlier.rows if row.section not in measured]
    rows = sorted([*results.rows, *kept], key=lambda row: SECTIONS.index(row.section))
    not_run = results.not_run if "peers" in measured else {**earlier.not_run, **results.not_run}
    return Results(results.machine, rows, not_run)


def describe(load_before: float) -> Machine:
    return Machine(
        cpu=_cpu(),
        cpus=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        load_before=round(load_before, 1),
        load_after=round(os.getloadavg()[0], 1),
        finished=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        versions={**{name: version(name) for name in _LIBRARIES}, **_programs()},
    )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.machine()


def _programs() -> dict[str, str]:
    found = {}
    for name, (program, *arguments) in _PROGRAMS.items():
        try:
            done = subprocess.run(
                [find_program(program), *arguments], capture_output=True, text=True, check=False
            )
        except ServerError:
            continue
        found[name] = (done.stdout or done.stderr).strip().splitlines()[0]
    return found


def write(results: Results, folder: Path = RESULTS, name: str = "bench") -> None:
    """`name`.json, .md, .svg and .png into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(results), indent=1)
    (folder / f"{name}.json").write_bytes(text + b"\n")
    (folder / f"{name}.md").write_text(as_markdown(results))
    try:
        from loadtest.bench.plot import plot
    except ModuleNotFoundError as missing:
        print(f"no plot: {missing.name} is not installed", file=sys.stderr)
    else:
        plot(results.rows, folder / f"{name}.svg")


def as_markdown(results: Results) -> str:
    machine = results.machine
    lines = [
        "# Benchmark results",
        "",
        f"{machine.finished}. {machine.cpus} × {machine.cpu}, {machine.system}. "
        f"Load average {machine.load_before} before and {machine.load_after} after. Where that is more than "
        "this benchmark's own processes, the machine was shared: then only the ratios mean something.",
        "",
        "Sections may have been measured at different times of that day. "
        "Medians of three rounds [lowest, highest], each round interleaved with its reference. "
        "CPU is in ms for 1,000 things of the row's unit.",
    ]
    for section in dict.fromkeys(row.section for row in results.rows):
        lines += [
            "",
            f"## {section}",
            "",
            "| case | ours | reference | ratio | goal | CPU ours | CPU reference | details | durability |",
            "|---|---|---|---|---|---|---|---|---|",
            *(_line(row) for row in results.rows if row.section == section),
        ]
    if results.not_run:
        lines += ["", "## Not run", "", *(f"- {name}: {why}" for name, why in results.not_run.items())]
    lines += ["", "Versions: " + ", ".join(f"{name} {text}" for name, text in machine.versions.items()), ""]
    return "\n".join(lines)


def _line(row: Row) -> str:
    reference = f"{spread(row.reference_value)} ({row.reference})" if row.reference_value else row.reference
    ratio = f"{spread(row.ratio, 2)} of {row.ratio_of}" if row.ratio else ""
    goal = row.goal if row.met is None else f"{row.goal}: {'met' if row.met else '**not met**'}"
    details = ", ".join(f"{name} {number(value, 2)}" for name, value in row.details.items())
    cells = (
        row.name,
        f"{spread(row.value)} {row.unit}",
        reference,
        ratio,
        goal,
        _processes(row.cpu_ms),
        _processes(row.reference_cpu_ms),
        "; ".join(part for part in (details, row.note) if part),
        row.durability,
    )
    return "| " + " | ".join(cells) + " |"


def _processes(cpu: dict[str, float]) -> str:
    return ", ".join(f"{name} {number(value, 1)}" for name, value in cpu.items())


def spread(values: Spread, places: int = 0) -> str:
    if values.low == values.high:
        return number(values.median, places)
    low, high = number(values.low, places), number(values.high, places)
    return f"{number(values.median, places)} [{low}, {high}]"


def number(value: float, places: int) -> str:
    """Grouped; at least one place where the number is small, none where it is large."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:,.{max(places, 1 if abs(value) < 10 else 0)}f}"
