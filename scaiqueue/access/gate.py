"""The one place where a call is let in or refused. What it goes by is kept in the process, and valid for the
version that was last heard of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.access import metrics
from scaiqueue.access.policy import (
    Reason,
    ScopePolicy,
    closed_queues,
    policy_of,
    refusal_in_queue,
    refusal_in_scope,
    refusal_outside,
)
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.moments import now_ms
from scaiqueue.queueing.principals import Principal
from scaiqueue.rows import access as rows

MAX_SCOPES = 20_000
LOOK_EVERY_S = 0.4
LOOK_WITHIN_S = 0.8

_log = structlog.get_logger("scaiqueue.permissions")


class AccessGate:
    """Raises AUTHZ_PERMISSION_DENIED, with the permission, the reason and the place in `details`.

    `changes` counts what was heard of: while it stays, nobody is known to have changed a key, grant or ACL.
    """

    def __init__(self, engine: AsyncEngine, on_change: Callable[[], None]) -> None:
        self._engine = engine
        self._on_change = on_change
        self._held: dict[str, ScopePolicy] = {}
        self._loading: dict[tuple[str, int], asyncio.Task[ScopePolicy]] = {}
        self._version = 0
        self.changes = 0

    def is_open(self, scope_id: str) -> bool:
        """No queue of the scope is known to have an ACL."""
        held = self._held.get(scope_id)
        return held is not None and held.version >= self._version and not held.acls

    def lets_in(self, principal: Principal, permission: str, scope_id: str) -> bool:
        """Nothing is limited, and the process knows it: most calls need no more."""
        return not principal.limited and permission in principal.permissions and self.is_open(scope_id)

    async def admit(self, principal: Principal, permission: str, scope_id: str, queue_id: str = "") -> None:
        """`require`, at no cost where nothing is limited."""
        if not self.lets_in(principal, permission, scope_id):
            await self.require(principal, permission, scope_id, queue_id)

    async def require(
        self, principal: Principal, permission: str, scope_id: str = "", queue_id: str = ""
    ) -> None:
        """In a scope, and a queue of it; without a scope: outside of all."""
        if not scope_id:
            reason = refusal_outside(principal, permission)
        else:
            policy = await self.policy(scope_id)
            reason = refusal_in_scope(principal, permission, scope_id, policy, now_ms())
            if reason is None and queue_id:
                reason = refusal_in_queue(principal, permission, queue_id, policy)
        if reason is not None:
            raise refused(reason, permission, scope_id, queue_id)

    async def require_every_queue(self, principal: Principal, permission: str, scope_id: str) -> None:
        """For what concerns all queues of a scope."""
        await self.require(principal, permission, scope_id)
        if principal.queues is not None:
            raise refused(Reason.queue_limit, permission, scope_id)
        for queue_id in await self.closed(principal, permission, scope_id):
            await self.require(principal, permission, scope_id, queue_id)

    async def closed(self, principal: Principal, permission: str, scope_id: str) -> frozenset[str]:
        """Ids of the scope's queues that ACLs close to the key."""
        return closed_queues(principal, permission, await self.policy(scope_id))

    async def granted(self, principal: Principal, scope_id: str) -> frozenset[str]:
        """What the key may do in a scope, by itself and by grants."""
        policy = await self.policy(scope_id)
        return principal.permissions | policy.granted_to(principal.key_id, now_ms())

    async def seconds_left(self, principal: Principal, scope_id: str) -> float:
        """Until the key or a grant of it ends by itself."""
        ends = [*(await self.policy(scope_id)).ends(principal.key_id)]
        if principal.expires_at:
            ends.append(principal.expires_at)
        now = now_ms()
        return min([(end - now) / 1000 for end in ends if end > now], default=float("inf"))

    async def policy(self, scope_id: str) -> ScopePolicy:
        """As of the version last heard of; while the rows can't be asked, as it was known."""
        held = self._held.get(scope_id)
        if held is not None and held.version >= self._version:
            return held
        key = (scope_id, self._version)
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = asyncio.create_task(self._load(scope_id))
            task.add_done_callback(lambda done: self._loaded(key, done))
        try:
            return await asyncio.shield(task)
        except (SQLAlchemyError, OSError, TimeoutError):
            if held is None:
                raise
            return held

    async def _load(self, scope_id: str) -> ScopePolicy:
        found = policy_of(await rows.policy(self._engine, scope_id))
        if len(self._held) >= MAX_SCOPES:
            self._held.clear()
        self._held[scope_id] = found
        metrics.policies_read_total.inc()
        self.heard(found.version)
        return found

    def _loaded(self, key: tuple[str, int], task: asyncio.Task[ScopePolicy]) -> None:
        self._loading.pop(key, None)
        if not task.cancelled():
            task.exception()  # whoever waited has heard of it

    def heard(self, version: int) -> None:
        """Somebody has changed who may do what."""
        if version > self._version:
            first, self._version = self._version == 0, version
            if not first:
                self.changed()

    def changed(self) -> None:
        """A key, grant or ACL has."""
        self.changes += 1
        self._on_change()

    async def run(self) -> None:
        """Ask for the version, again and again, until cancelled: word of a change may be lost."""
        readable = True
        while True:
            began = time.monotonic()
            try:
                self.heard(await rows.version(self._engine, LOOK_WITHIN_S))
                readable = True
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                if readable:
                    _log.warning("access version not readable", error=str(error)[:300])
                readable = False
            await asyncio.sleep(max(0.0, began + LOOK_EVERY_S - time.monotonic()))


def refused(reason: Reason, permission: str, scope_id: str = "", queue_id: str = "") -> QueueError:
    metrics.access_refused_total.labels(reason.name).inc()
    details = [Detail("permission", permission), Detail("reason", reason.name)]
    for name, place in (("scope", scope_id), ("queue", queue_id)):
        if place:
            details.append(Detail(name, place))
    return QueueError(
        Code.AUTHZ_PERMISSION_DENIED, reason.value.format(permission=permission), details=tuple(details)
    )


Standing = Callable[[], Coroutine[Any, Any, float]]
"""Of a call that waits: raises once it may not go on, else says for how many seconds it may at least."""


async def for_good() -> float:
    """The standing of a caller whom nothing can end."""
    return float("inf")
