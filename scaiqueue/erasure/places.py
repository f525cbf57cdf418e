"""Every table, once: what an erasure does with it, or why it need not. A new table belongs in here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, bindparam, delete, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from scaiqueue.erasure.subject import Subject
from scaiqueue.erasure.tombstone import (
    ERASED,
    Content,
    erased,
    redacted,
    without_reason,
    without_text,
    without_texts,
)
from scaiqueue.records import Flag, Outcome
from scaiqueue.rows import copies, history
from scaiqueue.rows.event_tables import event_addenda
from scaiqueue.rows.tables import (
    PREFIX,
    events,
    idempotency,
    integrity,
    jobs,
    message_archive,
    messages,
    quarantine,
    stream_chunks,
    streams,
)

GONE = "[erased]"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What is erased: messages or streams of one scope, or all else that names the subject, in its tenant.
    `headers`: what stands in the index now, with what rules had changed, which the rows know no more."""

    tenant_id: str
    subject: Subject
    redact: bool
    scope_id: str = ""
    message_ids: Sequence[str] = ()
    headers: Mapping[str, bytes] = {}
    stream_ids: Sequence[str] = ()


Erase = Callable[[AsyncConnection, Target], Awaitable[int]]
"""Changes the rows of one table and answers how many; within the caller's transaction."""


async def _messages(conn: AsyncConnection, target: Target) -> int:
    return await _contents(conn, target, messages)


async def _archive(conn: AsyncConnection, target: Target) -> int:
    return await _contents(conn, target, message_archive)


async def _contents(conn: AsyncConnection, target: Target, table: Any) -> int:
    c = table.c
    query = select(table).where(c.id.in_(target.message_ids)).order_by(c.id).with_for_update()
    of = await copies.parents(conn, target.message_ids)
    held = await copies.bodies(conn, set(of.values()))
    changes = []
    for row in (await conn.execute(query)).all():
        outcome = Outcome(bytes(row.response), row.failure_reason)
        body = bytes(row.body) or held.get(of.get(row.id, ""), b"")
        content = Content(row.header.encode(), body, row.overlay.encode(), outcome)
        left = redacted(content) if target.redact else erased(content)
        changes.append(
            {
                "the_id": row.id,
                "correlation_id": "",
                "source_id": "",
                "header": target.headers.get(row.id, left.header).decode(),
                "overlay": left.overlay.decode(),
                # The body of a copy for a subscription lies in the row of what it is a copy of.
                "body": b"" if row.id in of and row.flags & Flag.shared_body else left.body,
                "response": left.outcome.response,
                "failure_reason": left.outcome.reason,
                "origin": without_reason(row.origin),
                "history": without_texts(row.history),
            }
        )
    if changes:
        values: dict[str, Any] = {name: bindparam(name) for name in changes[0] if name != "the_id"}
        await conn.execute(update(table).where(c.id == bindparam("the_id")).values(**values), changes)
    return len(changes)


async def _events(conn: AsyncConnection, target: Target) -> int:
    """Texts of the journal's entries: a message's history says which it is in."""
    c = events.c
    places: set[tuple[int, int, int]] = set()
    too_long = []
    for table in (messages, message_archive):
        query = select(table.c.id, table.c.shard, table.c.history, table.c.history_skipped)
        for row in await conn.execute(query.where(table.c.id.in_(target.message_ids))):
            places |= {(row.shard, step.epoch, step.n) for step in history.parse(row.history)}
            too_long += [row.id] if row.history_skipped else []
    if not places:
        return 0
    chosen: ColumnElement[bool] = tuple_(c.shard, c.epoch, c.n).in_(sorted(places))
    if too_long:
        holds = or_(*(func.instr(c.transitions, message_id) > 0 for message_id in too_long))
        chosen = or_(chosen, (c.scope_id == target.scope_id) & holds)
    changed = 0
    for row in (await conn.execute(select(events).where(chosen).with_for_update())).all():
        groups: list[list[Any]] = msgspec.json.decode(row.transitions)
        left = [[*group[:4], without_text(group[4]), *group[5:]] for group in groups]
        if left != groups or row.detail:
            found = (c.shard == row.shard) & (c.epoch == row.epoch) & (c.n == row.n)
            text = msgspec.json.encode(left).decode()
            await conn.execute(update(events).where(found).values(transitions=text, detail=""))
            changed += 1
    return changed


async def _addenda(conn: AsyncConnection, target: Target) -> int:
    """The same texts of what a journal held when Redis was left: few entries, each looked at."""
    c, changed = event_addenda.c, 0
    query = select(event_addenda).where(c.scope_id == target.scope_id, c.transitions != "")
    for row in (await conn.execute(query.with_for_update())).all():
        if not any(message_id in row.transitions for message_id in target.message_ids):
            continue
        groups: list[list[Any]] = msgspec.json.decode(row.transitions)
        text = msgspec.json.encode([[*g[:4], without_text(g[4]), *g[5:]] for g in groups]).decode()
        found = (c.shard == row.shard) & (c.epoch == row.epoch) & (c.n == row.n) & (c.place == row.place)
        await conn.execute(update(event_addenda).where(found).values(transitions=text, detail=""))
        changed += 1
    return changed


async def _idempotency(conn: AsyncConnection, target: Target) -> int:
    gone = delete(idempotency).where(idempotency.c.message_id.in_(target.message_ids))
    return (await conn.execute(gone)).rowcount


async def _quarantine(conn: AsyncConnection, target: Target) -> int:
    found = update(quarantine).where(quarantine.c.message_id.in_(target.message_ids))
    return (await conn.execute(found.values(record=b"", envelope=b"", error=""))).rowcount


async def _integrity(conn: AsyncConnection, target: Target) -> int:
    found = update(integrity).where(integrity.c.subject.in_(target.message_ids))
    return (await conn.execute(found.values(detail="", correction=""))).rowcount


async def _jobs(conn: AsyncConnection, target: Target) -> int:
    """Jobs that were asked for by the same texts."""
    c, changed = jobs.c, 0
    query = select(c.id, c.parameters, c.progress).where(c.tenant_id == target.tenant_id)
    for row in (await conn.execute(query)).all():
        left = [_without(text, target.subject.texts) for text in (row.parameters, row.progress)]
        if left != [row.parameters, row.progress]:
            await conn.execute(
                update(jobs).where(c.id == row.id).values(parameters=left[0], progress=left[1])
            )
            changed += 1
    return changed


def _without(text: str, texts: set[str]) -> str:
    value = msgspec.json.decode(text)
    left = _replaced(value, texts)
    return text if left == value else msgspec.json.encode(left).decode()


def _replaced(value: Any, texts: set[str]) -> Any:
    if isinstance(value, dict):
        return {name: _replaced(part, texts) for name, part in value.items()}
    if isinstance(value, list):
        return [_replaced(part, texts) for part in value]
    return GONE if isinstance(value, str) and value in texts else value


OF_MESSAGES: Mapping[str, Erase] = {
    "events": _events,
    "event_addenda": _addenda,
    "idempotency": _idempotency,
    "quarantine": _quarantine,
    "integrity": _integrity,
    "message_archive": _archive,
    "messages": _messages,
}
"""Rows that belong to messages, for some of them at a time."""


async def _streams(conn: AsyncConnection, target: Target) -> int:
    """What their messages were to be made of, and why they ended."""
    found = update(streams).where(streams.c.id.in_(target.stream_ids))
    return (await conn.execute(found.values(template="{}", reason=ERASED))).rowcount


async def _chunks(conn: AsyncConnection, target: Target) -> int:
    gone = delete(stream_chunks).where(stream_chunks.c.stream_id.in_(target.stream_ids))
    return (await conn.execute(gone)).rowcount


OF_STREAMS: Mapping[str, Erase] = {"stream_chunks": _chunks, "streams": _streams}
"""Rows that belong to streams."""

OF_SUBJECT: Mapping[str, Erase] = {"jobs": _jobs}
"""Rows that may name the subject itself, once at the end."""

KEPT: Mapping[str, str] = {
    "tenants": "names of tenants",
    "scopes": "what administrators named and described",
    "queues": "what administrators named and described",
    "api_keys": "what administrators named",
    "routing_rules": "what administrators wrote",
    "grants": "what administrators wrote",
    "acls": "what administrators wrote",
    "subscriptions": "what administrators wrote",
    "copies": "ids",
    "trusts": "what administrators wrote",
    "schemas": "what administrators wrote",
    "hitl_patterns": "what administrators wrote",
    "audit_log": "ids, addresses of callers and codes",
    "audit_checkpoints": "hashes",
    "erasures": "an erasure forgets its subject when it ends",
    "event_horizons": "positions",
    "webhooks": "what administrators wrote",
    "webhook_positions": "positions",
    "webhook_deliveries": "ids and statuses",
    "rates": "counts",
    "system_agents": "counts",
    "journal_positions": "positions",
    "left_positions": "positions",
    "installation": "settings",
    "mode": "a state",
    "fallback_members": "ids and scores",
    "fallback_queues": "positions",
    "fallback_scopes": "counters",
    "fallback_claims": "ids and tokens",
}
"""Tables that hold nothing of what publishers, consumers and reviewers sent, and what they hold instead."""


def table_names() -> set[str]:
    """Every table that is spoken of here."""
    return {PREFIX + name for name in (*OF_MESSAGES, *OF_STREAMS, *OF_SUBJECT, *KEPT)}
