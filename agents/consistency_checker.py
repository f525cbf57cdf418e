"""Compares index and rows, a bounded piece a run, and puts right what can be put right safely."""

from __future__ import annotations

import time
from collections import Counter

import msgspec
import structlog
from uuid_utils import uuid7

from scaiqueue import upkeep
from scaiqueue.integrity.checker import Checker
from scaiqueue.integrity.kinds import Finding
from scaiqueue.integrity.repair import Repairs
from scaiqueue.integrity.walk import Cursor
from scaiqueue.moments import now_ms
from scaiqueue.rows import integrity
from scaiqueue.rows.integrity import Noted

from . import metrics
from .agent import QUEUE_NAME, AgentContext, Budget, Result

RESUME_KEY = f"{QUEUE_NAME}:consistency-from"
LOOK_FOR_S = 40.0
"""Of a run's time, what goes into looking; the second look and the repairs take the rest."""

log = structlog.get_logger("scaiqueue.agents")


class Round(msgspec.Struct, frozen=True):
    """A walk through everything, over as many runs as it takes. `began_at` in ms."""

    began_at: int
    cursor: Cursor


async def check_consistency(context: AgentContext, budget: Budget) -> Result:
    """Walk on from where the last run ended. Returns `messages` (looked at), `divergences` by kind,
    `corrected`, and `more` if time ran out."""
    end = time.monotonic() + LOOK_FOR_S
    stored = await context.coordination.get(RESUME_KEY)
    round_ = msgspec.json.decode(stored, type=Round) if stored else Round(now_ms(), Cursor())
    checker = Checker(context.redis, context.engine, shards=context.settings.shards)
    report = await checker.run(round_.cursor, lambda: budget.spent or time.monotonic() >= end)
    done = await Repairs(context.runner, context.engine).apply(report.findings)
    await _note(context, report.findings, done)
    result: Result = {
        "messages": report.messages,
        "divergences": dict(Counter(one.kind.name for one in report.findings)),
        "corrected": len(done),
    }
    if report.after is not None:
        place = msgspec.json.encode(Round(round_.began_at, report.after))
        await upkeep.write(context.coordination, "SET", RESUME_KEY, place)
        return result | {"more": True}
    await context.coordination.delete(RESUME_KEY)
    await integrity.close_unseen(context.engine, round_.began_at, now_ms())
    return result


async def _note(context: AgentContext, findings: list[Finding], done: dict[Finding, str]) -> None:
    now = now_ms()
    for one in findings:
        metrics.DIVERGENCES.labels(one.kind.name).inc()
        if one in done:
            metrics.CORRECTED.labels(one.kind.name).inc()
        log.error(
            "divergence",
            kind=one.kind.name,
            scope_id=one.scope,
            queue=one.queue,
            subject=one.subject,
            detail=one.detail,
            correction=done.get(one, "none"),
        )
    noted = [
        Noted(
            id=str(uuid7()),
            shard=one.shard,
            tenant_id=one.tenant,
            scope_id=one.scope,
            kind=one.kind.name,
            queue=one.queue,
            subject=one.subject.encode(errors="replace").decode()[:256],
            detail=one.detail,
            found_at=now,
            seen_at=now,
            corrected_at=now if one in done else 0,
            correction=done.get(one, ""),
        )
        for one in findings
    ]
    if noted:
        await integrity.note(context.engine, noted)
    if keep_s := context.settings.event_retention_s:
        await integrity.prune(context.engine, now - keep_s * 1000)
