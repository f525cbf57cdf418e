"""Looks, looks again, and only then speaks: what is merely under way is gone by the second look."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.integrity.kinds import Finding
from scaiqueue.integrity.walk import Cursor, Look, Walk

SETTLE_S = 2.0
MOST_SUSPECTS = 1000


@dataclass
class Report:
    """`messages` looked at; `after`: where the next run goes on, None at the end."""

    messages: int = 0
    findings: list[Finding] = field(default_factory=list)
    after: Cursor | None = None


class Checker:
    """`settle_s`: how long what is under way between index and rows may take."""

    def __init__(
        self, redis: Redis, engine: AsyncEngine, *, shards: int, settle_s: float | None = None
    ) -> None:
        self._walk = Walk(redis, engine, shards)
        self._settle_s = SETTLE_S if settle_s is None else settle_s

    async def run(self, start: Cursor, spent: Callable[[], bool]) -> Report:
        """Walk on from `start` until the end, or until `spent` or too much is suspect."""
        report = Report()
        suspects: list[tuple[Look, list[Finding]]] = []
        count = 0
        async for step in self._walk.steps(start):
            found = await step.look()
            report.messages += step.messages
            if found:
                suspects.append((step.again(found), found))
                count += len(found)
            if (spent() or count >= MOST_SUSPECTS) and step.after != Cursor():
                report.after = step.after
                break
        if suspects:
            report.findings = await self._confirm(suspects)
        return report

    async def _confirm(self, suspects: list[tuple[Look, list[Finding]]]) -> list[Finding]:
        await asyncio.sleep(self._settle_s)
        confirmed: dict[tuple[str, ...], Finding] = {}
        for again, before in suspects:
            marks = {one.key: one.mark for one in before}
            for one in await again():
                if marks.get(one.key) == one.mark:
                    confirmed[one.key] = one
        return list(confirmed.values())
