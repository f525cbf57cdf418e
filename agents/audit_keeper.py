"""Verifies the newest part of the audit's chain, writes a checkpoint, and deletes what is old."""

from __future__ import annotations

import structlog
from uuid_utils import uuid7

from scaiqueue.audit.chain import Link
from scaiqueue.audit.verify import Fault, verify
from scaiqueue.integrity.kinds import Kind
from scaiqueue.moments import now_ms
from scaiqueue.rows import audit, integrity
from scaiqueue.rows.audit import Checkpoint
from scaiqueue.rows.integrity import EVERY_SHARD, Noted

from . import metrics
from .agent import AgentContext, Budget, Result

ROWS_AT_ONCE = 500
MOST_ROWS = 20_000
"""So many are verified in a run; the next goes on."""

log = structlog.get_logger("scaiqueue.agents")


async def keep_audit(context: AgentContext, budget: Budget) -> Result:
    """Returns `rows` that were looked at, `faults`, `pruned`, and `more` if time ran out."""
    known = await audit.newest_checkpoint(context.engine)
    since = Link(known.seq, known.hash) if known else None
    verdict = await verify(context.engine, since=since, most=MOST_ROWS)
    for fault in verdict.faults:
        log.error("audit_broken", kind=fault.kind, row=fault.seq, means=fault.means)
        metrics.AUDIT_FAULTS.inc()
    if verdict.faults:
        await integrity.note(context.engine, [_noted(fault) for fault in verdict.faults])
    if verdict.last.seq > (known.seq if known else 0):
        await _write_down(context, verdict.last)
    result: Result = {"rows": verdict.rows, "faults": len(verdict.faults), "pruned": 0}
    if not verdict.ended:
        result["more"] = True
    kept_s, found = context.settings.audit_retention_s, ROWS_AT_ONCE
    while kept_s and found == ROWS_AT_ONCE:
        if budget.spent:
            return result | {"more": True}
        now = now_ms()
        found = await audit.prune(context.engine, now - kept_s * 1000, now, ROWS_AT_ONCE)
        result["pruned"] += found
    return result


async def _write_down(context: AgentContext, last: Link) -> None:
    """In the rows, and in the log, which whoever changes rows may not be able to change too."""
    await audit.add_checkpoint(
        context.engine, Checkpoint(id=str(uuid7()), seq=last.seq, hash=last.hash, at=now_ms())
    )
    log.info("audit_checkpoint", checkpoint=str(last))


def _noted(fault: Fault) -> Noted:
    now = now_ms()
    return Noted(
        id=str(uuid7()),
        shard=EVERY_SHARD,
        tenant_id="",
        scope_id="",
        kind=Kind.audit_broken.name,
        queue="",
        subject=f"{fault.kind} {fault.seq}",
        detail=fault.means,
        found_at=now,
        seen_at=now,
    )
