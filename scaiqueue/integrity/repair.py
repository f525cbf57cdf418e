"""Puts right what can be put right without a doubt, by the script `repair`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

import structlog
from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.integrity.kinds import Finding, Kind
from scaiqueue.keys import DEAD_LETTER, QueueKeys, ScopeKeys, Shard
from scaiqueue.rows import restorable
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import RepairItem
from scaiqueue.scripts.replies import NotReadyError
from scaiqueue.scripts.runner import ScriptRunner

log = structlog.get_logger("scaiqueue.integrity")

MESSAGES = 100
QUEUES = 60
_FROM_ROWS = (Kind.not_indexed, Kind.body_missing)
_uuid = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_gave_out = re.compile(r"gave out (?:\d+\.)?(\d+)")


class Repairs:
    """`apply` answers what was done, by finding."""

    def __init__(self, runner: ScriptRunner, engine: AsyncEngine) -> None:
        self._runner = runner
        self._engine = engine

    async def apply(self, findings: Sequence[Finding]) -> dict[Finding, str]:
        done: dict[Finding, str] = {}
        safe = [one for one in findings if one.kind.repaired and one.scope]

        def scope_of(one: Finding) -> ScopeKeys:
            return ScopeKeys(Shard(one.shard), one.tenant, one.scope)

        for scope, group in groupby(sorted(safe, key=lambda one: scope_of(one).root), key=scope_of):
            of_scope = list(group)
            for at in range(0, len(of_scope), MESSAGES):
                part = of_scope[at : at + MESSAGES]
                try:
                    done |= await self._in_scope(scope, part)
                except (NotReadyError, RedisError) as error:
                    # What was found is noted all the same, and found again by the next run.
                    log.warning("not_repaired", scope_id=scope.scope_id, error=str(error))
        return done

    async def _in_scope(self, scope: ScopeKeys, findings: Sequence[Finding]) -> dict[Finding, str]:
        by_id: dict[str, list[Finding]] = {}
        for one in findings:
            message_id = one.mark.partition(" ")[0] if one.kind is Kind.key_orphan else one.subject
            if _uuid.fullmatch(message_id):
                by_id.setdefault(message_id, []).append(one)
        wanted = [name for name, found in by_id.items() if any(one.kind in _FROM_ROWS for one in found)]
        rows = await restorable.by_ids(self._engine, wanted) if wanted else {}
        keys = [one.subject for one in findings if one.kind is Kind.key_orphan]
        items = [_item(name, found, rows.get(name), keys) for name, found in by_id.items()]
        queues = _queues(scope, findings)
        reply = await binding.repair(
            self._runner,
            scope,
            queues,
            keys,
            _floor(findings, Kind.seq_behind),
            _floor(findings, Kind.token_behind),
            items,
            # Where a recovery came between, the index is another one than was looked at.
            epoch=findings[0].epoch,
        )
        words = {name: item[0] for name, item in zip(by_id, reply.items, strict=True)}
        done = {
            one: "put back" if words[name] == "OK" else "removed"
            for name, found in by_id.items()
            for one in found
        }
        return done | {one: "set" for one in findings if not one.subject}


def _item(
    message_id: str, found: Sequence[Finding], row: restorable.Restorable | None, keys: Sequence[str]
) -> RepairItem:
    kinds = " ".join(sorted({one.kind.name for one in found}))[:64]
    key = next((keys.index(one.subject) + 1 for one in found if one.kind is Kind.key_orphan), "")
    if row is None:
        return RepairItem(message_id, kinds, idem=key)
    lost = any(one.kind is Kind.not_indexed for one in found)
    parts = (row.envelope, row.overlay, row.outcome)
    return RepairItem(message_id, kinds, row.record if lost else b"", *parts, idem=key)


def _queues(scope: ScopeKeys, findings: Sequence[Finding]) -> list[QueueKeys]:
    slugs = sorted({one.queue for one in findings if one.queue})[:QUEUES]
    return [scope.queue(slug) for slug in slugs or [DEAD_LETTER]]


def _floor(findings: Sequence[Finding], kind: Kind) -> int:
    found = [_gave_out.match(one.detail) for one in findings if one.kind is kind]
    return max((int(match[1]) for match in found if match), default=0)
