"""Subscriptions of broadcast queues: rows first, then, with the queue's version, what the scripts obey."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

import msgspec
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils import uuid7

from scaiqueue.broadcast.filters import Filter, condition, encode_filter
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.keys import MAX_SLUG, subscription_slug
from scaiqueue.moments import now_ms
from scaiqueue.queueing.backfill import Backfiller
from scaiqueue.queueing.configuration import copies_settings
from scaiqueue.queueing.configure import Configurator, keys_of
from scaiqueue.queueing.directory import ScopeEntry
from scaiqueue.queueing.removal import Removal
from scaiqueue.rows import queues, subscriptions
from scaiqueue.rows.queues import QueueRow, encode_settings
from scaiqueue.rows.subscriptions import ACTIVE, FILLING, REMOVING, SubscriptionNameTaken, SubscriptionRow

MAX_SUBSCRIPTIONS = 200


class Asked(msgspec.Struct, kw_only=True):
    """A subscription as a caller wants it."""

    name: str
    filter: Filter
    start: str
    delivery: str
    dedup_window_s: int


class Seen(msgspec.Struct):
    """Of an idempotency key that a subscription has had within its window: the copy, and when that is
    forgotten."""

    message_id: str
    expires_at: int


class Subscriptions:
    """Each change is in the rows and in force when it returns."""

    def __init__(
        self,
        redis: Redis,
        engine: AsyncEngine,
        configurator: Configurator,
        removal: Removal,
        backfiller: Backfiller,
        announce: Callable[[str], Awaitable[None]],
    ) -> None:
        self._redis = redis
        self._engine = engine
        self._configurator = configurator
        self._removal = removal
        self._backfiller = backfiller
        self._announce = announce

    async def create(self, scope: ScopeEntry, queue: QueueRow, asked: Asked) -> SubscriptionRow:
        """Raises SLUG_CONFLICT, and VALIDATION_ERROR where the queue takes no more, or none."""
        slug = subscription_slug(queue.slug, asked.name)
        condition(asked.filter)
        if queue.parsed.consumer_mode != "broadcast":
            raise _invalid("queue", "Only a queue with consumer_mode broadcast has subscriptions")
        if len(slug) > MAX_SLUG:
            raise _invalid("name", f"At most {MAX_SLUG - 1 - len(queue.slug)} characters with this queue")
        now, earliest = now_ms(), asked.start == "earliest"
        row = SubscriptionRow(
            id=str(uuid7()), tenant_id=queue.tenant_id, scope_id=queue.scope_id, queue=queue.slug,
            name=asked.name, slug=slug, filter=encode_filter(asked.filter).decode(), start=asked.start,
            delivery=asked.delivery, dedup_window_s=asked.dedup_window_s,
            state=FILLING if earliest else ACTIVE, fill_before=-1, filled_to="", filled=0, version=1,
            created_at=now, updated_at=now,
        )  # fmt: skip
        holds = QueueRow(
            id=row.id, tenant_id=queue.tenant_id, scope_id=queue.scope_id, slug=slug,
            display_name=f"{queue.display_name}: {asked.name}"[:256], description="", state=queue.state,
            settings=encode_settings(copies_settings(queue)), version=1, created_at=now, updated_at=now,
        )  # fmt: skip
        try:
            found = await subscriptions.create(self._engine, row, holds, MAX_SUBSCRIPTIONS)
        except SubscriptionNameTaken:
            raise QueueError(
                Code.SLUG_CONFLICT,
                f"The name {asked.name} is taken.",
                details=(Detail("name", "Taken by another subscription of the queue"),),
            ) from None
        if found is None:
            raise _invalid("queue", f"A queue has at most {MAX_SUBSCRIPTIONS} subscriptions")
        await self._configurator.apply(scope.row, [holds], itself=False)
        await self._configurator.subscribe(scope.keys.queue(queue.slug), found)
        await self._announce(scope.id)
        if earliest:
            await self._backfiller.begin(row)
        return await self.find(queue, row.id)

    async def find(self, queue: QueueRow, reference: str) -> SubscriptionRow:
        """By id or name. Raises SCAIQUEUE_SUBSCRIPTION_NOT_FOUND."""
        row = await subscriptions.find(self._engine, queue.scope_id, queue.slug, reference)
        if row is None:
            raise QueueError(Code.SCAIQUEUE_SUBSCRIPTION_NOT_FOUND)
        return row

    async def change(
        self, scope: ScopeEntry, queue: QueueRow, row: SubscriptionRow, chosen: Filter, dedup_window_s: int
    ) -> SubscriptionRow:
        condition(chosen)
        found = await subscriptions.change(
            self._engine, row, filter=encode_filter(chosen).decode(), dedup_window_s=dedup_window_s
        )
        await self._configurator.subscribe(scope.keys.queue(queue.slug), found)
        return await self.find(queue, row.id)

    async def remove(self, actor: str, scope: ScopeEntry, row: SubscriptionRow, *, force: bool) -> None:
        """With its copies, but for those in the dead letter. Raises SCAIQUEUE_NOT_EMPTY while copies are
        live, unless forced. A call that is cut short can be repeated."""
        holds = await queues.find(self._engine, row.scope_id, row.slug)
        if holds is not None:
            await self._removal.refuse_live(scope, [holds], force)
        found = await subscriptions.change(self._engine, row, state=REMOVING)
        await self._configurator.subscribe(keys_of(scope.row).queue(row.queue), found)
        if holds is not None:
            await self._removal.remove_queue(actor, scope, holds, force=True)
        await subscriptions.remove(self._engine, row)

    async def remove_all(self, actor: str, scope: ScopeEntry, queue: QueueRow, *, force: bool) -> None:
        """Those of a queue that is to be deleted."""
        found = await subscriptions.roster(self._engine, queue.scope_id, queue.slug)
        holding = await queues.of_subscriptions(self._engine, queue.scope_id, queue.slug)
        await self._removal.refuse_live(scope, holding, force)
        for row in found.subscriptions:
            await self.remove(actor, scope, row, force=True)

    async def seen(self, scope: ScopeEntry, row: SubscriptionRow, key: str) -> Seen | None:
        """None for a key that it has not had within its window."""
        name = scope.keys.idempotency(row.slug, key)
        value = cast(bytes | None, await self._redis.get(name))
        ends = int(await self._redis.pexpiretime(name))
        if value is None or ends <= 0:
            return None
        return Seen(value.decode().partition(" ")[0], ends)


def _invalid(field: str, message: str) -> QueueError:
    return QueueError(Code.VALIDATION_ERROR, details=(Detail(field, message),))
