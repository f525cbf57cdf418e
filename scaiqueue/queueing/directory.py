"""Scopes and queues as the hot path needs them, kept in the process for a short while.

A stale entry harms nothing: state and settings are the scripts' to judge, from their own hashes. The
directory only turns what a caller writes into keys. While the row store can't be asked, entries stay good.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.errors import Code, QueueError
from scaiqueue.keys import SYSTEM_QUEUES, QueueKeys, ScopeKeys, Shard, subscription_slug
from scaiqueue.queueing.message import Place
from scaiqueue.routing.program import body_paths
from scaiqueue.routing.stored import compiled
from scaiqueue.rows import queues, routing_rules, scopes
from scaiqueue.rows.documents import bound_types
from scaiqueue.rows.queues import QueueRow, QueueSettings
from scaiqueue.rows.scopes import ScopeRow

MAX_AGE_S = 5.0
RENEWED_WITHIN_S = 0.5
MAX_ENTRIES = 20_000

_uuid = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Key = TypeVar("Key")
Entry = TypeVar("Entry")
T = TypeVar("T")


@dataclass(frozen=True)
class ScopeEntry:
    """`typed`: ids of the schemas that hold for a message type, by type. `body_paths`: what its routing rules
    ask of bodies; where it is stale the scripts look themselves."""

    row: ScopeRow
    typed: Mapping[str, str] = field(default_factory=dict)
    body_paths: tuple[str, ...] = ()

    @cached_property
    def keys(self) -> ScopeKeys:
        return ScopeKeys(Shard(self.row.shard), self.row.tenant_id, self.row.id)

    @property
    def id(self) -> str:
        return self.row.id


@dataclass(frozen=True)
class QueueEntry:
    row: QueueRow
    scope: ScopeEntry

    @cached_property
    def keys(self) -> QueueKeys:
        return self.scope.keys.queue(self.row.slug)

    @cached_property
    def place(self) -> Place:
        return Place(self.row.tenant_id, self.scope.id, self.row.id)

    @cached_property
    def settings(self) -> QueueSettings:
        return self.row.parsed

    @cached_property
    def checked(self) -> bool:
        """Some body published here may have a schema by itself."""
        return self.settings.schema is not None or bool(self.scope.typed)

    @cached_property
    def owner_id(self) -> str:
        """The queue to whose users it belongs: of a subscription's, the broadcast queue."""
        return self.settings.broadcast_queue or self.row.id

    @property
    def id(self) -> str:
        return self.row.id

    @property
    def slug(self) -> str:
        return self.row.slug


class Directory:
    """Raises SCAIQUEUE_SCOPE_NOT_FOUND and SCAIQUEUE_QUEUE_NOT_FOUND, for another tenant's things too."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._scopes: OrderedDict[tuple[str, str], tuple[float, ScopeEntry]] = OrderedDict()
        self._queues: OrderedDict[tuple[str, str], tuple[float, QueueEntry]] = OrderedDict()
        self._lists: OrderedDict[str, tuple[float, Mapping[str, QueueEntry]]] = OrderedDict()
        # Many ask at once for what has just become too old: one look answers them all.
        self._looking: dict[tuple[str, str, str], asyncio.Task[Any]] = {}

    def known_scope(self, tenant: str, scope: str) -> ScopeEntry | None:
        """What is kept and young enough; None: ask `scope`."""
        held = self._scopes.get((tenant, scope))
        return None if held is None or held[0] <= time.monotonic() else held[1]

    def known_queue(self, tenant: str, scope: str, queue: str) -> QueueEntry | None:
        """What is kept and young enough; None: ask `scope` and `queue`."""
        now = time.monotonic()
        held = self._scopes.get((tenant, scope))
        if held is None or held[0] <= now:
            return None
        found = self._queues.get((held[1].id, queue))
        return None if found is None or found[0] <= now else found[1]

    async def _once(
        self, kind: str, first: str, second: str, look: Callable[[], Coroutine[Any, Any, T | None]]
    ) -> T | None:
        key = (kind, first, second)
        task = self._looking.get(key)
        joined = task is not None
        if task is None:
            task = self._looking[key] = asyncio.create_task(look())
            task.add_done_callback(lambda done: self._looked(key, done))
        found: T | None = await asyncio.shield(task)
        # A look that began before this call may have missed what was created meanwhile.
        return await look() if joined and found is None else found

    def _looked(self, key: tuple[str, str, str], task: asyncio.Task[Any]) -> None:
        if self._looking.get(key) is task:
            del self._looking[key]
        if not task.cancelled():
            task.exception()  # whoever waited has heard of it, or had no need to wait for it

    async def scope(self, tenant: str, reference: str) -> ScopeEntry:
        held = self._scopes.get((tenant, reference))
        if held is not None and held[0] > time.monotonic():
            return held[1]
        try:
            async with asyncio.timeout(held and RENEWED_WITHIN_S):
                row = await self._once(
                    "scope", tenant, reference, lambda: scopes.find(self._engine, tenant, reference)
                )
        except (SQLAlchemyError, OSError):
            if held is None:
                raise
            _keep(self._scopes, (tenant, reference), held[1])
            return held[1]
        if row is None:
            raise QueueError(Code.SCAIQUEUE_SCOPE_NOT_FOUND)
        book = await routing_rules.book(self._engine, row.id)
        entry = ScopeEntry(row, await bound_types(self._engine, row.id), body_paths(compiled(book)))
        _keep(self._scopes, (tenant, reference), entry)
        return entry

    async def queue(self, scope: ScopeEntry, reference: str) -> QueueEntry:
        held = self._queues.get((scope.id, reference))
        if held is not None and held[0] > time.monotonic():
            return held[1]
        try:
            async with asyncio.timeout(held and RENEWED_WITHIN_S):
                row = await self._once(
                    "queue", scope.id, reference, lambda: queues.find(self._engine, scope.id, reference)
                )
        except (SQLAlchemyError, OSError):
            if held is None:
                raise
            _keep(self._queues, (scope.id, reference), held[1])
            return held[1]
        if row is None:
            raise QueueError(Code.SCAIQUEUE_QUEUE_NOT_FOUND)
        entry = QueueEntry(row, scope)
        for name in (reference, row.id, row.slug):
            _keep(self._queues, (scope.id, name), entry)
        return entry

    async def queues(self, scope: ScopeEntry) -> Mapping[str, QueueEntry]:
        """All but the system's, broadcast ones and those of subscriptions, by slug, in the order of their
        slugs."""
        held = self._lists.get(scope.id)
        if held is not None and held[0] > time.monotonic():
            return held[1]
        try:
            async with asyncio.timeout(held and RENEWED_WITHIN_S):
                rows = await self._once("list", scope.id, "", lambda: queues.all_of(self._engine, scope.id))
        except (SQLAlchemyError, OSError):
            if held is None:
                raise
            _keep(self._lists, scope.id, held[1])
            return held[1]
        found = sorted((row for row in rows or () if _competing(row)), key=lambda row: row.slug)
        entries = {row.slug: QueueEntry(row, scope) for row in found}
        _keep(self._lists, scope.id, entries)
        return entries

    async def subscription(self, queue: QueueEntry, reference: str) -> QueueEntry:
        """The queue that holds the copies of a subscription, by its name or id. Raises
        SCAIQUEUE_SUBSCRIPTION_NOT_FOUND."""
        names = subscription_slug(queue.slug, reference), reference
        # What is looked for by the wrong name is looked for in the rows.
        for name in reversed(names) if _uuid.fullmatch(reference) else names:
            try:
                held = await self.queue(queue.scope, name)
            except QueueError:
                continue
            if held.settings.broadcast_queue == queue.id:
                return held
        raise QueueError(Code.SCAIQUEUE_SUBSCRIPTION_NOT_FOUND)

    def forget(self, scope_id: str) -> None:
        """Drop what is kept of the scope: it or a queue of it has changed."""
        self._looking.clear()
        self._lists.pop(scope_id, None)
        for held in [key for key, (_, entry) in self._scopes.items() if entry.id == scope_id]:
            del self._scopes[held]
        for name in [key for key in self._queues if key[0] == scope_id]:
            del self._queues[name]

    def clear(self) -> None:
        self._looking.clear()
        self._scopes.clear()
        self._queues.clear()
        self._lists.clear()


def _competing(row: QueueRow) -> bool:
    if row.slug in SYSTEM_QUEUES:
        return False
    settings = row.parsed
    return settings.consumer_mode == "competing" and settings.access != "copies"


def _keep(held: OrderedDict[Key, tuple[float, Entry]], key: Key, entry: Entry) -> None:
    held[key] = (time.monotonic() + MAX_AGE_S, entry)
    held.move_to_end(key)
    while len(held) > MAX_ENTRIES:
        held.popitem(last=False)
