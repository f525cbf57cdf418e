"""What was fixed when the rows were made."""

from __future__ import annotations

from sqlalchemy.exc import SQLAlchemyError

from scaiqueue.rows import positions
from scaiqueue.rows.engine import open_engine, reading
from scaiqueue.settings import Settings


async def other_shards(settings: Settings) -> str:
    """A complaint when the rows were made for another number of shards, else "".

    Scopes keep the shard that they were given, so the number can't change. "" too when the rows can't
    be asked: whoever needs them says so.
    """
    engine = open_engine(settings.database_url, pool_size=1)
    try:
        async with reading(engine) as connection:
            stored = await positions.number_of_shards(connection)
    except (SQLAlchemyError, OSError):
        return ""
    finally:
        await engine.dispose()
    if stored in (0, settings.shards):
        return ""
    made = f"the rows were made with {stored} shards, not {settings.shards}"
    return f"SCAIQUEUE_SHARDS: {made}: set it to {stored}"
