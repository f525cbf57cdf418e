"""Rows of routing rules. Every change raises the scope's version first: changes are in its order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scaiqueue.moments import now_ms
from scaiqueue.rows.engine import reading
from scaiqueue.rows.tables import routing_rules as rules
from scaiqueue.rows.tables import scopes


class RuleNameTaken(Exception):
    """Another rule of the scope has the name."""


class RuleRow(msgspec.Struct, frozen=True, kw_only=True):
    """Times in ms. `definition` is JSON; `queue` "" is any."""

    id: str
    tenant_id: str
    scope_id: str
    name: str
    queue: str
    trigger: str
    position: int
    definition: str
    enabled: bool
    version: int
    created_at: int
    updated_at: int


class Rulebook(msgspec.Struct, frozen=True):
    """All rules of a scope in their order, and the version that they hold since."""

    version: int
    rules: list[RuleRow]


def _row(values: Any) -> RuleRow:
    return RuleRow(**values)


_order = (rules.c.position, rules.c.id)


async def _raise_version(connection: AsyncConnection, scope_id: str) -> None:
    """First of all: whoever changes the scope's rules waits here for the one before."""
    raised = scopes.c.version + 1
    await connection.execute(update(scopes).where(scopes.c.id == scope_id).values(version=raised))


async def _book(connection: AsyncConnection, scope_id: str) -> Rulebook:
    version = (await connection.execute(select(scopes.c.version).where(scopes.c.id == scope_id))).scalar()
    found = await connection.execute(select(rules).where(rules.c.scope_id == scope_id).order_by(*_order))
    return Rulebook(int(version or 0), [_row(row) for row in found.mappings()])


async def book(engine: AsyncEngine, scope_id: str) -> Rulebook:
    async with reading(engine) as connection:
        return await _book(connection, scope_id)


async def find(engine: AsyncEngine, scope_id: str, reference: str) -> RuleRow | None:
    """By id or name, within the scope."""
    query = select(rules).where(
        rules.c.scope_id == scope_id, or_(rules.c.id == reference, rules.c.name == reference)
    )
    async with reading(engine) as connection:
        found = [_row(row) for row in (await connection.execute(query)).mappings()]
    return min(found, key=lambda row: row.id != reference, default=None)


async def create(engine: AsyncEngine, rule: RuleRow, most: int) -> Rulebook | None:
    """The scope's rules with the new one; None where there are `most` already. Raises RuleNameTaken."""
    try:
        async with engine.begin() as connection:
            await _raise_version(connection, rule.scope_id)
            count = select(func.count()).select_from(rules).where(rules.c.scope_id == rule.scope_id)
            if (await connection.execute(count)).scalar_one() >= most:
                return None
            await connection.execute(insert(rules).values(**msgspec.structs.asdict(rule)))
            return await _book(connection, rule.scope_id)
    except IntegrityError:
        if await find(engine, rule.scope_id, rule.name) is None:
            raise
        raise RuleNameTaken from None


async def change(engine: AsyncEngine, rule: RuleRow, **values: object) -> Rulebook:
    """The scope's rules after the change. Raises RuleNameTaken."""
    try:
        async with engine.begin() as connection:
            await _raise_version(connection, rule.scope_id)
            await connection.execute(
                update(rules)
                .where(rules.c.id == rule.id)
                .values(**values, version=rules.c.version + 1, updated_at=now_ms())
            )
            return await _book(connection, rule.scope_id)
    except IntegrityError:
        raise RuleNameTaken from None


async def remove(engine: AsyncEngine, rule: RuleRow) -> Rulebook:
    async with engine.begin() as connection:
        await _raise_version(connection, rule.scope_id)
        await connection.execute(delete(rules).where(rules.c.id == rule.id))
        return await _book(connection, rule.scope_id)


async def last_position(engine: AsyncEngine, scope_id: str) -> int:
    query = select(func.max(rules.c.position)).where(rules.c.scope_id == scope_id)
    async with reading(engine) as connection:
        return int((await connection.execute(query)).scalar() or 0)


def enabled(book: Rulebook) -> Sequence[RuleRow]:
    return [rule for rule in book.rules if rule.enabled]
