"""Schemas and patterns by the names that publishers give, kept in the process for a short while."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Generic

from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.errors import Code, QueueError
from scaiqueue.queueing.directory import MAX_AGE_S
from scaiqueue.rows.documents import Documents, Row

MAX_ENTRIES = 1000


class DocumentShelf(Generic[Row]):
    """Documents never change, but what is the newest of a name does. `missing`: what isn't there."""

    def __init__(self, engine: AsyncEngine, documents: Documents[Row], missing: Code) -> None:
        self._engine = engine
        self._documents = documents
        self._missing = missing
        self._held: OrderedDict[tuple[str, str], tuple[float, Row]] = OrderedDict()

    async def get(self, scope_id: str, reference: str) -> Row:
        key = (scope_id, reference)
        held = self._held.get(key)
        if held is not None and held[0] > time.monotonic():
            return held[1]
        row = await self.fresh(scope_id, reference)
        self._held[key] = (time.monotonic() + MAX_AGE_S, row)
        self._held.move_to_end(key)
        while len(self._held) > MAX_ENTRIES:
            self._held.popitem(last=False)
        return row

    async def fresh(self, scope_id: str, reference: str) -> Row:
        """Read now."""
        row = await self._documents.find(self._engine, scope_id, reference)
        if row is None:
            raise QueueError(self._missing, f"The scope has no {reference}.")
        return row

    def forget(self, scope_id: str) -> None:
        for key in [key for key in self._held if key[0] == scope_id]:
            del self._held[key]

    def clear(self) -> None:
        self._held.clear()
