"""Rows of documents that never change: JSON Schemas and review patterns, by name and version."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Table, delete, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.rows import tables
from scaiqueue.rows.engine import reading


class DocumentRow(msgspec.Struct, frozen=True, kw_only=True):
    """`document` is JSON."""

    id: str
    tenant_id: str
    scope_id: str
    name: str
    version: int
    document: str
    created_by: str
    created_at: int


class SchemaRow(DocumentRow, frozen=True, kw_only=True):
    """`message_type` "" is bound to no type."""

    message_type: str
    mode: str


class VersionTaken(Exception):
    """The name has that version already."""


Row = TypeVar("Row", bound=DocumentRow)


class Documents(Generic[Row]):
    """One table of documents."""

    def __init__(self, table: Table, row: type[Row]) -> None:
        self._table = table
        self._row = row

    async def create(self, engine: AsyncEngine, row: Row) -> None:
        """Raises VersionTaken."""
        try:
            async with engine.begin() as connection:
                await connection.execute(insert(self._table).values(**msgspec.structs.asdict(row)))
        except IntegrityError:
            if await self.version(engine, row.scope_id, row.name, row.version) is None:
                raise
            raise VersionTaken from None

    async def by_id(self, engine: AsyncEngine, scope_id: str, row_id: str) -> Row | None:
        return await self._first(engine, scope_id, self._table.c.id == row_id)

    async def find(self, engine: AsyncEngine, scope_id: str, reference: str) -> Row | None:
        """By id, by `name@version`, or by name alone: its highest version."""
        name, _, version = reference.partition("@")
        if version:
            plain = version.isascii() and version.isdigit() and len(version) <= 9
            return await self.version(engine, scope_id, name, int(version)) if plain else None
        return await self.by_id(engine, scope_id, reference) or await self.newest(engine, scope_id, name)

    async def version(self, engine: AsyncEngine, scope_id: str, name: str, version: int) -> Row | None:
        return await self._first(
            engine, scope_id, self._table.c.name == name, self._table.c.version == version
        )

    async def newest(
        self, engine: AsyncEngine, scope_id: str, name: str, below: int | None = None
    ) -> Row | None:
        """The highest version, or the highest below one."""
        conditions = [self._table.c.name == name]
        if below is not None:
            conditions.append(self._table.c.version < below)
        return await self._first(engine, scope_id, *conditions)

    async def page(
        self, engine: AsyncEngine, scope_id: str, name: str | None, after: str, limit: int
    ) -> list[Row]:
        """At most `limit` in the order of their creation, after the id `after`."""
        columns = self._table.c
        query = select(self._table).where(columns.scope_id == scope_id, columns.id > after)
        if name is not None:
            query = query.where(columns.name == name)
        return await self._rows(engine, query.order_by(columns.id).limit(limit))

    async def remove(self, engine: AsyncEngine, row_id: str) -> None:
        async with engine.begin() as connection:
            await connection.execute(delete(self._table).where(self._table.c.id == row_id))

    async def _first(
        self, engine: AsyncEngine, scope_id: str, *conditions: ColumnElement[bool]
    ) -> Row | None:
        query = select(self._table).where(self._table.c.scope_id == scope_id, *conditions)
        found = await self._rows(engine, query.order_by(self._table.c.version.desc()).limit(1))
        return found[0] if found else None

    async def _rows(self, engine: AsyncEngine, query: Any) -> list[Row]:
        async with reading(engine) as connection:
            return [self._row(**row) for row in (await connection.execute(query)).mappings()]


schemas = Documents(tables.schemas, SchemaRow)
patterns = Documents(tables.hitl_patterns, DocumentRow)


async def bound_types(engine: AsyncEngine, scope_id: str) -> dict[str, str]:
    """Of each message type that schemas of a scope are bound to, the id of the one created last."""
    columns = tables.schemas.c
    query = (
        select(columns.message_type, func.max(columns.id))
        .where(columns.scope_id == scope_id, columns.message_type != "")
        .group_by(columns.message_type)
    )
    async with reading(engine) as connection:
        return {row[0]: row[1] for row in await connection.execute(query)}
