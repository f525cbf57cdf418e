"""What is fixed for an installation once it has data."""

from __future__ import annotations

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.rows.engine import reading
from scaiqueue.rows.tables import installation
from scaiqueue.settings import SettingsError

SHARDS = "shards"


async def find(engine: AsyncEngine, name: str) -> str | None:
    async with reading(engine) as conn:
        query = select(installation.c.value).where(installation.c.name == name)
        return (await conn.execute(query)).scalar_one_or_none()


async def ensure_shards(engine: AsyncEngine, shards: int) -> None:
    """Remember the number of shards at the first start. Raises SettingsError when it is another now."""
    stored = await find(engine, SHARDS)
    if stored is None:
        try:
            async with engine.begin() as conn:
                await conn.execute(insert(installation).values(name=SHARDS, value=str(shards)))
            return
        except IntegrityError:  # another process was first
            stored = await find(engine, SHARDS)
    if stored != str(shards):
        raise SettingsError(
            f"shards: this installation was made with {stored} shards and the setting says {shards}: "
            f"every scope has its place by that number, so set SCAIQUEUE_SHARDS={stored}"
        )
