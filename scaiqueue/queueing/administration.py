"""Scopes and queues: rows first, then, with the row's version, what the scripts obey."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils import uuid7

from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.keys import DEAD_LETTER, FIRST_QUEUES, OUTBOUND, SYSTEM_QUEUES, shard_of
from scaiqueue.moments import now_ms
from scaiqueue.queueing.configuration import copies_settings, system_queue_settings
from scaiqueue.queueing.configure import Configurator
from scaiqueue.rows import queues, scopes
from scaiqueue.rows.queues import QueueRow, QueueSettings, QueueSlugTaken, encode_settings
from scaiqueue.rows.scopes import ScopeRow, SlugTaken
from scaiqueue.settings import Settings

# verb -> (states it may start from, state it leads to)
SCOPE_TURNS = {
    "pause": (("active", "paused"), "paused"),
    "resume": (("paused", "active"), "active"),
    "archive": (("active", "paused", "archived"), "archived"),
    "unarchive": (("archived", "active"), "active"),
}
QUEUE_TURNS = {
    "pause": (("active", "draining", "paused"), "paused"),
    "resume": (("paused", "draining", "active"), "active"),
    "drain": (("active", "paused", "draining"), "draining"),
    "archive": (("active", "paused", "draining", "archived"), "archived"),
    "unarchive": (("archived", "active"), "active"),
}


def _next_state(state: str, verb: str, turns: Mapping[str, tuple[tuple[str, ...], str]]) -> str:
    allowed, target = turns[verb]
    if state not in allowed:
        raise QueueError(
            Code.SCAIQUEUE_INVALID_STATE,
            f"{verb} is not possible while it is {state}.",
            details=(Detail("state", state),),
        )
    return target


def refuse_system_queue(slug: str, *, except_dead_letter: bool) -> None:
    if slug in SYSTEM_QUEUES and not (except_dead_letter and slug == DEAD_LETTER):
        raise QueueError(Code.SCAIQUEUE_SYSTEM_QUEUE_READONLY, f"{slug} belongs to the system.")


def refuse_subscription_queue(queue: QueueRow) -> None:
    if queue.parsed.access == "copies":
        raise QueueError(
            Code.SCAIQUEUE_SYSTEM_QUEUE_READONLY,
            f"{queue.slug} holds copies for a subscription: change or delete that, or its queue.",
        )


class Administration:
    """Every change here is in the rows when it returns, and in the index; each process hears of it."""

    def __init__(
        self,
        engine: AsyncEngine,
        settings: Settings,
        configurator: Configurator,
        announce: Callable[[str], Awaitable[None]],
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._configurator = configurator
        self._announce = announce

    async def create_scope(
        self,
        tenant: str,
        *,
        slug: str,
        display_name: str,
        description: str,
        durability: str,
        shard: int | None = None,
    ) -> ScopeRow:
        """Without `shard` it is one of those that are not reserved. Raises SLUG_CONFLICT."""
        now, scope_id = now_ms(), str(uuid7())
        if shard is None:
            shard = shard_of(scope_id, self._settings.shards - self._settings.reserved_shards)
        scope = ScopeRow(
            id=scope_id,
            tenant_id=tenant,
            slug=slug,
            shard=shard,
            display_name=display_name,
            description=description,
            durability=durability,
            state="active",
            version=1,
            created_at=now,
            updated_at=now,
        )
        system = [self._system_queue(scope, name) for name in FIRST_QUEUES]
        try:
            await scopes.create(self._engine, scope, system)
        except SlugTaken:
            raise QueueError(
                Code.SLUG_CONFLICT,
                f"The slug {slug} is taken.",
                details=(Detail("slug", "Taken by another scope"),),
            ) from None
        await self._configurator.apply(scope, system)
        await self._announce(scope.id)
        return scope

    async def ensure_outbound(self, scope: ScopeRow) -> None:
        """The queue where messages wait to be sent to other scopes."""
        queue = await queues.find(self._engine, scope.id, OUTBOUND)
        if queue is None:
            queue = self._system_queue(scope, OUTBOUND)
            with suppress(QueueSlugTaken):  # another process was first, and made the same
                await queues.create(self._engine, queue)
        await self._configurator.apply(scope, [queue], itself=False)
        await self._announce(scope.id)

    def _system_queue(self, scope: ScopeRow, slug: str) -> QueueRow:
        name = slug.removeprefix("_").replace("_", " ").capitalize()
        settings = system_queue_settings(slug, self._settings.visibility_timeout_s)
        return self._queue_row(scope, slug, name, "", settings)

    @staticmethod
    def _queue_row(
        scope: ScopeRow, slug: str, display_name: str, description: str, settings: QueueSettings
    ) -> QueueRow:
        now = now_ms()
        return QueueRow(
            id=str(uuid7()),
            tenant_id=scope.tenant_id,
            scope_id=scope.id,
            slug=slug,
            display_name=display_name,
            description=description,
            state="active",
            settings=encode_settings(settings),
            version=1,
            created_at=now,
            updated_at=now,
        )

    async def change_scope(self, scope: ScopeRow, changes: Mapping[str, object]) -> ScopeRow:
        changed = await scopes.change(self._engine, scope.id, **changes)
        if changed is None:
            raise QueueError(Code.SCAIQUEUE_SCOPE_NOT_FOUND)
        await self._configurator.apply(changed)
        await self._announce(scope.id)
        return changed

    async def turn_scope(self, scope: ScopeRow, verb: str) -> ScopeRow:
        """`verb` is one of SCOPE_TURNS. Raises SCAIQUEUE_INVALID_STATE."""
        state = _next_state(scope.state, verb, SCOPE_TURNS)
        if state == scope.state:
            return scope
        return await self.change_scope(scope, {"state": state})

    async def create_queue(
        self,
        scope: ScopeRow,
        *,
        slug: str,
        display_name: str,
        description: str,
        settings: QueueSettings,
    ) -> QueueRow:
        """Raises SLUG_CONFLICT."""
        queue = self._queue_row(scope, slug, display_name, description, settings)
        try:
            await queues.create(self._engine, queue)
        except QueueSlugTaken:
            raise QueueError(
                Code.SLUG_CONFLICT,
                f"The slug {slug} is taken.",
                details=(Detail("slug", "Taken by another queue of the scope"),),
            ) from None
        await self._configurator.apply(scope, [queue], itself=False)
        await self._announce(scope.id)
        return queue

    async def change_queue(self, scope: ScopeRow, queue: QueueRow, changes: Mapping[str, object]) -> QueueRow:
        refuse_system_queue(queue.slug, except_dead_letter=True)
        changed = await queues.change(self._engine, queue.id, **changes)
        if changed is None:
            raise QueueError(Code.SCAIQUEUE_QUEUE_NOT_FOUND)
        followers = [changed]
        if changed.parsed.consumer_mode == "broadcast":
            followers += await self._follow(changed, changes)
        await self._configurator.apply(scope, followers, itself=False)
        await self._announce(scope.id)
        return changed

    async def _follow(self, queue: QueueRow, changes: Mapping[str, object]) -> list[QueueRow]:
        """The queues of its subscriptions, with its new settings or state."""
        values: dict[str, object] = {}
        if "settings" in changes:
            values["settings"] = encode_settings(copies_settings(queue))
        if "state" in changes:
            values["state"] = queue.state
        holding = await queues.of_subscriptions(self._engine, queue.scope_id, queue.slug) if values else []
        changed = [await queues.change(self._engine, row.id, **values) for row in holding]
        return [row for row in changed if row is not None]

    async def turn_queue(self, scope: ScopeRow, queue: QueueRow, verb: str) -> QueueRow:
        """`verb` is one of QUEUE_TURNS. Raises SCAIQUEUE_INVALID_STATE."""
        refuse_system_queue(queue.slug, except_dead_letter=True)
        state = _next_state(queue.state, verb, QUEUE_TURNS)
        if state == queue.state:
            return queue
        return await self.change_queue(scope, queue, {"state": state})
