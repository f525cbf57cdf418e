"""The queues that have a setting, in the order of their rows, so that a run can go on where one ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.keys import QueueKeys, ScopeKeys, Shard
from scaiqueue.rows.engine import reading
from scaiqueue.rows.queues import QueueSettings, decode_settings
from scaiqueue.rows.tables import queues, scopes

PAGE = 500


@dataclass(frozen=True)
class ChosenQueue:
    """A queue with its settings; `id` is its row's."""

    id: str
    state: str
    keys: QueueKeys
    settings: QueueSettings


async def queues_with(
    engine: AsyncEngine, setting: str, start: bytes | str | None
) -> AsyncIterator[ChosenQueue]:
    """Queues where `setting` is set and not 0, from row id `start` on (None: all).

    The filter in SQL is coarse, the decoded setting exact.
    """
    columns = (queues.c.id, queues.c.slug, queues.c.state, queues.c.settings, queues.c.scope_id)
    query = (
        select(*columns, scopes.c.tenant_id, scopes.c.shard)
        .join(scopes, scopes.c.id == queues.c.scope_id)
        .where(queues.c.settings.contains(f'"{setting}"'))
        .order_by(queues.c.id)
        .limit(PAGE)
    )
    place = queues.c.id >= (start.decode() if isinstance(start, bytes) else start or "")
    while True:
        async with reading(engine) as connection:
            rows = (await connection.execute(query.where(place))).all()
        for row in rows:
            settings = decode_settings(row.settings)
            if getattr(settings, setting):
                scope = ScopeKeys(Shard(row.shard), row.tenant_id, row.scope_id)
                yield ChosenQueue(row.id, row.state, scope.queue(row.slug), settings)
        if len(rows) < PAGE:
            return
        place = queues.c.id > rows[-1].id
