"""Every kind of fault strikes once under load, and the checker accepts what came of it. Seeded and short."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from tests.chaos.faults import FAULTS, Scene
from tests.chaos.faults.clients import storm
from tests.chaos.report import lines
from tests.chaos.run import Run
from tests.chaos.site import Site

SEED = 20
RATE = 60.0
STORM = 10_000
# Faults that share a site: starting one costs more than most strikes last.
GROUPS: dict[str, Sequence[str]] = {
    "redis dies": (
        "redis-kill", "redis-kill-always", "redis-kill-twice", "redis-restart", "rewrite-killed",
        "redis-promotion", "aof-truncated", "aof-old",
    ),
    "redis suffers": (
        "redis-flushall", "script-flush", "redis-freeze", "memory-full", "connections-killed",
        "owners-forgotten",
    ),
    "rows": ("rows-kill", "rows-restart", "rows-freeze", "rows-connections-killed", "positions-locked"),
    "processes": (
        "api-kill", "apis-kill", "rolling-restart", "api-freeze", "worker-kill",
        "worker-freeze",
    ),
    "everything": ("all-killed", "power-cut", "recovery-killed"),
    "network to redis": (
        "redis-partition", "redis-half-open", "redis-latency", "redis-trickle", "redis-reset",
        "redis-refused", "one-api-without-redis",
    ),
    "network to the rows": (
        "rows-partition", "rows-half-open", "rows-latency", "rows-trickle", "rows-reset", "rows-refused",
        "one-api-without-rows",
    ),
}  # fmt: skip
WITH_THE_STORM = ("consumers-stalled", "consumer-dead", "duplicate-publishes", "cancel-storm")


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    try:
        await site.start()
        yield site
    finally:
        await site.close()


def test_every_fault_has_its_run() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted([*grouped, *WITH_THE_STORM]) == sorted(FAULTS)


@pytest.mark.parametrize("group", GROUPS)
async def test_nothing_acknowledged_is_lost(group: str, site: Site, tmp_path: Path) -> None:
    run = Run(site, tmp_path, seed=SEED, rate=RATE, pace=0.4)
    run.start()
    for name in GROUPS[group]:
        await run.strike(FAULTS[name])
    report = await run.finish()
    assert report.verdict.acknowledged > len(GROUPS[group])
    assert report.verdict.violations == [], "\n".join(lines(report))


async def test_replies_belong_to_their_requests_whoever_hangs_up(site: Site, tmp_path: Path) -> None:
    """Ten thousand requests cancelled at random moments, among those of clients that stay."""
    run = Run(site, tmp_path, seed=SEED, rate=RATE)
    run.start()
    await storm(Scene(site, run.load, run.http, run.dice), STORM)
    for name in WITH_THE_STORM:
        await run.strike(FAULTS[name])
    report = await run.finish()
    assert report.verdict.unknown > STORM / 20
    assert report.verdict.violations == [], "\n".join(lines(report))
