"""`python -m tests.chaos`: a run on private servers; exit status 1 when an invariant is violated."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from random import SystemRandom
from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from cyclopts.validators import Number

from tests.chaos.faults import FAULTS
from tests.chaos.report import lines
from tests.chaos.run import Report, Run, chaos, plain
from tests.chaos.site import Site

app = App(name="chaos", help="Strike a private ScaiQueue under load, and check that it kept its promises.")


@app.default
def main(
    *,
    minutes: Annotated[float, Parameter(validator=Number(gt=0))] = 5.0,
    seed: int | None = None,
    faults: str = "",
    every: Annotated[float, Parameter(validator=Number(gt=0))] = 5.0,
    rate: Annotated[float, Parameter(validator=Number(gt=0))] = 120.0,
    out: Path | None = None,
) -> int:
    """Run and judge.

    Parameters
    ----------
    minutes
        How long faults strike.
    seed
        Makes moments and order of the faults the same again.
    faults
        Names, joined by commas; all of them by default.
    every
        Seconds between strikes, on average.
    rate
        Publishes a second.
    out
        A folder for the result as JSON.
    """
    names = [name for name in faults.split(",") if name] or list(FAULTS)
    if unknown := [name for name in names if name not in FAULTS]:
        print(f"no such fault: {', '.join(unknown)}; known are {', '.join(FAULTS)}", file=sys.stderr)
        return 2
    chosen = SystemRandom().randrange(10_000) if seed is None else seed
    print(f"seed {chosen}", flush=True)
    report = asyncio.run(_run(minutes * 60, chosen, names, every, rate))
    print("\n".join(lines(report)))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{chosen}.json").write_bytes(msgspec.json.format(msgspec.json.encode(plain(report))))
    if report.verdict.violations:
        return 1
    shutil.rmtree(report.history.parent)
    return 0


async def _run(seconds: float, seed: int, names: list[str], every_s: float, rate: float) -> Report:
    folder = Path(tempfile.mkdtemp(prefix="sq-chaos-"))
    site = Site()
    try:
        await site.start()
        run = Run(site, folder, seed=seed, rate=rate)
        return await chaos(run, seconds=seconds, every_s=every_s, faults=[FAULTS[n] for n in names])
    finally:
        site.keep_logs(folder)
        await site.close()


if __name__ == "__main__":
    sys.exit(app())
