"""Purge, and deleting queues and scopes."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from scaiqueue.api.answers import Rendered
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.errors import Code
from scaiqueue.queueing.administration import refuse_subscription_queue, refuse_system_queue
from scaiqueue.queueing.directory import ScopeEntry
from scaiqueue.rows import queues

removing = Registry("Queues")


class Deletion(msgspec.Struct, frozen=True, kw_only=True):
    force: Annotated[
        bool, Meta(description="Delete even though messages are live; they are cancelled first.")
    ] = False


class Deleted(msgspec.Struct):
    id: str
    deleted: bool = True


class Purged(msgspec.Struct):
    """`more`: so much was waiting that the call must be repeated."""

    purged: int
    more: bool


@removing(
    "POST /scopes/{scope}/queues/{queue}/purge",
    "Cancel every message that waits in a queue",
    answer=Purged,
    errors=(Code.SCAIQUEUE_SYSTEM_QUEUE_READONLY,),
)
async def purge_queue(call: Call) -> Rendered:
    """Claimed messages stay. Of a broadcast queue, the copies of all its subscriptions."""
    queue = await call.queue()
    refuse_system_queue(queue.slug, except_dead_letter=True)
    purged, more = await call.services.purger.purge(queue.keys, call.principal.key_id)
    if queue.settings.consumer_mode == "broadcast":
        for row in await queues.of_subscriptions(call.services.engine, queue.scope.id, queue.slug):
            keys = queue.scope.keys.queue(row.slug)
            count, left = await call.services.purger.purge(keys, call.principal.key_id)
            purged, more = purged + count, more or left
    return call.one(Purged(purged, more))


@removing(
    "DELETE /scopes/{scope}/queues/{queue}",
    "Delete a queue with everything in it",
    answer=Deleted,
    query=Deletion,
    errors=(Code.SCAIQUEUE_NOT_EMPTY, Code.SCAIQUEUE_SYSTEM_QUEUE_READONLY),
)
async def delete_queue(call: Call) -> Rendered:
    """Refused while messages are live in it, or in its subscriptions, unless forced."""
    scope, row = await call.fresh_queue()
    refuse_subscription_queue(row)
    asked = call.query(Deletion)
    if row.parsed.consumer_mode == "broadcast":
        actor = call.principal.key_id
        await call.services.subscriptions.remove_all(actor, scope, row, force=asked.force)
    await call.services.removal.remove_queue(call.principal.key_id, scope, row, force=asked.force)
    return call.one(Deleted(row.id))


@removing(
    "DELETE /scopes/{scope}",
    "Delete a scope with everything in it",
    answer=Deleted,
    query=Deletion,
    errors=(Code.SCAIQUEUE_NOT_EMPTY,),
)
async def delete_scope(call: Call) -> Rendered:
    """Refused while messages are scheduled, pending or claimed in any queue of it, unless forced."""
    row = await call.fresh_scope()
    asked = call.query(Deletion)
    await call.services.removal.remove_scope(call.principal.key_id, ScopeEntry(row), force=asked.force)
    return call.one(Deleted(row.id))
