"""Whether a call to an endpoint may be made: the decision of `scaiqueue.access` about what its path names."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scaiqueue.access.gate import Standing, refused
from scaiqueue.access.policy import MANAGE, Reason
from scaiqueue.errors import Code, QueueError

if TYPE_CHECKING:
    from scaiqueue.api.endpoint import Call, Endpoint


def known_to_be_open(endpoint: Endpoint, call: Call) -> bool:
    """Of a call that concerns a scope: most are let in by this alone."""
    names = endpoint.names
    if "scope" not in names:
        return False
    place = call.known_place("queue" in names)
    return call.services.access.lets_in(call.principal, endpoint.needs, place)


async def admit(endpoint: Endpoint, call: Call) -> None:
    """Raises AUTHZ_PERMISSION_DENIED, and that something is not found only to who may use the scope."""
    access, principal, permission = call.services.access, call.principal, endpoint.needs
    if not permission:
        return
    if "scope" not in endpoint.names:
        await access.require(principal, permission)
        return
    try:
        scope = await call.scope()
    except QueueError as error:
        if error.code is Code.SCAIQUEUE_SCOPE_NOT_FOUND and permission not in principal.permissions:
            raise refused(Reason.permission, permission) from None
        raise
    await access.require(principal, permission, scope.id)
    if "queue" in endpoint.names:
        queue = await call.queue()
        await access.require(principal, permission, scope.id, queue.owner_id)
    elif "message" in endpoint.names:
        await call.require_message(scope, await call.message_id(scope))
    elif permission == MANAGE and not endpoint.names_queues:
        await call.every_queue(scope.id)


def standing(call: Call, scope_id: str, queue_ids: Sequence[str]) -> Standing:
    """Asks anew whether the call may be made, as if it came now, where something has changed or ended."""
    access, keys = call.services.access, call.services.key_ring
    authorization = call.request.headers.get("authorization")
    seen, ends = -1, 0.0

    async def check() -> float:
        nonlocal seen, ends
        now = time.monotonic()
        if access.changes != seen or now >= ends:
            seen = access.changes
            principal = keys.known(authorization) or await keys.authenticate(authorization)
            if not access.lets_in(principal, call.permission, scope_id):
                for queue_id in queue_ids:
                    await access.require(principal, call.permission, scope_id, queue_id)
            ends = now + await access.seconds_left(principal, scope_id)
        return ends - now

    return check
