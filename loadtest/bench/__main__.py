"""`python -m loadtest.bench`: run sections, write results, compare with the baseline."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import cyclopts
import uvloop
from cyclopts import Parameter

from loadtest.bench import (
    baseline,
    expiry_cases,
    http_cases,
    osqueue_cases,
    peer_cases,
    persister_cases,
    recovery_cases,
    report,
    script_cases,
    waiting_cases,
)
from loadtest.bench.measure import Row

Section = Literal["scripts", "expiry", "http", "waiting", "persister", "recovery", "osqueue", "peers"]

app = cyclopts.App(name="python -m loadtest.bench", help_format="plaintext")


@app.default
def main(
    *sections: Section,
    quick: Annotated[bool, Parameter(negative="")] = False,
    deep: Annotated[bool, Parameter(negative="")] = False,
    life_seconds: float = 20.0,
    out: Path = report.RESULTS,
    check: Annotated[bool, Parameter(negative="")] = False,
    save_baseline: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Measure, interleaved with floors, on private servers.

    Parameters
    ----------
    sections
        Which to run; all of them if none is named. What `out` holds of the others stays.
    quick
        A quarter of the messages.
    deep
        Also ten million pending messages (8 GB of memory), a million leases, ten thousand empty queues.
    life_seconds
        How long whole lives run over HTTP.
    out
        Folder for bench.json, bench.md and bench.svg.
    check
        Exit with 1 if a ratio lost more than 15 % against the baseline.
    save_baseline
        Keep this run's ratios as the baseline.
    """
    load_before = os.getloadavg()[0]
    rows: list[Row] = []
    not_run: dict[str, str] = {}
    for section in sections or report.SECTIONS:
        print(f"{section} …", file=sys.stderr, flush=True)
        match section:
            case "scripts":
                rows += script_cases.run(quick=quick, deep=deep)
            case "expiry":
                rows += expiry_cases.run(quick=quick, deep=deep)
            case "waiting":
                rows += uvloop.run(waiting_cases.run(quick=quick, deep=deep))
            case "http":
                rows += uvloop.run(http_cases.run(quick=quick, life_seconds=life_seconds))
            case "persister":
                rows += uvloop.run(persister_cases.run(quick=quick))
            case "recovery":
                rows += uvloop.run(recovery_cases.run(quick=quick))
            case "osqueue":
                rows += uvloop.run(osqueue_cases.run(quick=quick))
            case "peers":
                found, missing = uvloop.run(peer_cases.run(quick=quick))
                rows += found
                not_run |= missing
        # After each section, so that a run that is cut short leaves what it has.
        measured = report.Results(report.describe(load_before), rows, not_run)
        results = report.merged(measured, out)
        report.write(results, out)
    print(report.as_markdown(results))
    if save_baseline:
        baseline.save(rows)
    lost = baseline.losses(rows) if check else []
    for line in lost:
        print(line, file=sys.stderr)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(app())
