"""Jobs as messages of a scope, each type in a queue of its own: the protocol's verbs on the same services."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Sequence
from functools import lru_cache

from msgspec import UNSET

from scaiqueue.access.gate import refused
from scaiqueue.access.policy import Reason
from scaiqueue.api.drafts import Publish, make_draft
from scaiqueue.api.permissions import Permission
from scaiqueue.api.preparation import needs_preparation, prepare
from scaiqueue.api.validation import invalid
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.osqueue.types import slug_of
from scaiqueue.osqueue.words import Claimed, ClaimJob, Holding, Nothing, SubmitJob, Submitted
from scaiqueue.queueing.batching import MAX_QUEUES
from scaiqueue.queueing.claim import ClaimRequest, Lease
from scaiqueue.queueing.directory import QueueEntry, ScopeEntry
from scaiqueue.queueing.header import Header, read_header
from scaiqueue.queueing.message import spliced_body
from scaiqueue.queueing.principals import Principal
from scaiqueue.records import State
from scaiqueue.rows.queues import QueueSettings
from scaiqueue.scripts.binding import CompleteItem, ExtendItem
from scaiqueue.services import Services

MAX_TYPES = 1000
LEASE_S, ATTEMPTS = 30, 3

PUBLISH, CONSUME = Permission.publish.value, Permission.consume.value
_SETTINGS = QueueSettings(visibility_timeout_s=LEASE_S, max_retries=ATTEMPTS)
_MAX_KEPT_HEADER = 1024
_NONE, _NOTHING = Claimed(), Nothing()
_uuid = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class JobDesk:
    """Raises QueueError. Scope and queues are made by the first job that needs them."""

    def __init__(self, services: Services, scope: str) -> None:
        self._services = services
        self._scope = scope

    async def submit(self, principal: Principal, asked: SubmitJob) -> Submitted:
        """Answers when the job is as durable as its scope and queue ask for."""
        job_type = asked.type or ""
        queue = await self._queue(principal, job_type)
        message = Publish(type=job_type, body=asked.payload, max_retries=asked.max_attempts)
        review = None
        if needs_preparation(message, queue):
            review = await prepare(self._services, queue, message)
        draft = make_draft(message, queue, principal.key_id, self._services.settings, review=review)
        (result,) = await self._services.publisher.publish(queue.scope, [draft])
        if isinstance(result, QueueError):
            raise result
        return Submitted(result.id)

    async def claim(self, principal: Principal, asked: ClaimJob) -> Claimed:
        """The job submitted first of those that nobody works on, or nothing of one."""
        scope = await self._existing_scope(principal, CONSUME)
        if scope is None:
            return _NONE
        queues = await self._chosen(principal, asked.types, scope)
        groups = [queues[at : at + MAX_QUEUES] for at in range(0, len(queues), MAX_QUEUES)]
        if len(groups) > 1:
            # A call of the script takes so many queues: beyond, each group has its turn.
            random.shuffle(groups)
        holder = principal.holder(asked.worker_id)
        for group in groups:
            leases = await self._services.claimer.claim(scope, ClaimRequest(group, holder, 1, "oldest"))
            if leases:
                return _claimed(leases[0])
        return _NONE

    async def heartbeat(self, principal: Principal, asked: Holding) -> Nothing:
        """The lease counts from now. Raises SCAIQUEUE_CLAIM_LOST where the worker has none any more."""
        scope = await self._held_scope(principal, asked.job_id)
        item = ExtendItem(asked.job_id, "", principal.holder(asked.worker_id))
        await self._services.settlement.extend.one(scope, item)
        return _NOTHING

    async def complete(self, principal: Principal, asked: Holding) -> Nothing:
        """Of a job that the same worker has completed, too: its first answer may have been lost."""
        scope = await self._held_scope(principal, asked.job_id)
        holder = principal.holder(asked.worker_id)
        try:
            await self._services.settlement.complete.one(scope, CompleteItem(asked.job_id, "", holder))
        except QueueError as error:
            if error.code is not Code.SCAIQUEUE_INVALID_STATE:
                raise
            record = await self._services.reader.record(scope, asked.job_id)
            if (record.state, record.verb, record.holder) != (State.completed, "complete", holder):
                raise
        return _NOTHING

    async def _existing_scope(self, principal: Principal, permission: str) -> ScopeEntry | None:
        try:
            scope = await self._services.directory.scope(principal.tenant, self._scope)
        except QueueError as error:
            if error.code is not Code.SCAIQUEUE_SCOPE_NOT_FOUND:
                raise
            await self._services.access.require(principal, permission)
            return None
        await self._services.access.admit(principal, permission, scope.id)
        return scope

    async def _held_scope(self, principal: Principal, job_id: str) -> ScopeEntry:
        scope = await self._existing_scope(principal, CONSUME)
        if scope is None or _uuid.fullmatch(job_id) is None:
            raise QueueError(Code.SCAIQUEUE_MESSAGE_NOT_FOUND)
        access = self._services.access
        if not access.lets_in(principal, CONSUME, scope.id):
            record = await self._services.reader.record(scope, job_id)
            queue = await self._services.directory.queue(scope, record.queue)
            await access.require(principal, CONSUME, scope.id, queue.owner_id)
        return scope

    async def _queue(self, principal: Principal, job_type: str) -> QueueEntry:
        slug = slug_of(job_type)
        queue = self._services.directory.known_queue(principal.tenant, self._scope, slug)
        if queue is None:
            queue = await self._found_or_made(principal, slug, job_type)
        await self._services.access.admit(principal, PUBLISH, queue.scope.id, queue.id)
        return queue

    async def _found_or_made(self, principal: Principal, slug: str, job_type: str) -> QueueEntry:
        directory, administration = self._services.directory, self._services.administration
        scope = await self._existing_scope(principal, PUBLISH)
        if scope is None:
            if principal.limited:
                raise refused(Reason.scope_limit, PUBLISH)
            await _unless_taken(
                administration.create_scope(
                    principal.tenant, slug=self._scope, display_name="Jobs", description="", durability=""
                )
            )
            scope = await directory.scope(principal.tenant, self._scope)
        try:
            return await directory.queue(scope, slug)
        except QueueError as error:
            if error.code is not Code.SCAIQUEUE_QUEUE_NOT_FOUND:
                raise
        if len(await directory.queues(scope)) >= MAX_TYPES:
            raise invalid(
                Detail("type", f"The scope has {MAX_TYPES} types already: put what varies into payload")
            )
        if principal.queues is not None:
            raise refused(Reason.queue_limit, PUBLISH, scope.id)
        await _unless_taken(
            administration.create_queue(
                scope.row, slug=slug, display_name=job_type or "Untyped", description="",
                settings=_SETTINGS,
            )
        )  # fmt: skip
        return await directory.queue(scope, slug)

    async def _chosen(
        self, principal: Principal, types: Sequence[str] | None, scope: ScopeEntry
    ) -> tuple[QueueEntry, ...]:
        """Queues of the types that there are yet, or all that the key may claim from."""
        access, queues = self._services.access, await self._services.directory.queues(scope)
        if types:
            named = sorted({slug_of(job_type) for job_type in types if job_type})
            found = tuple(queues[slug] for slug in named if slug in queues)
            for queue in found:
                await access.admit(principal, CONSUME, scope.id, queue.owner_id)
            return found
        if access.lets_in(principal, CONSUME, scope.id):
            return tuple(queues.values())
        closed = await access.closed(principal, CONSUME, scope.id)
        return tuple(
            queue for queue in queues.values() if principal.sees(queue.id) and queue.id not in closed
        )


async def _unless_taken(making: Awaitable[object]) -> None:
    """Of two that make the same thing one is the first."""
    try:
        await making
    except QueueError as error:
        if error.code is not Code.SLUG_CONFLICT:
            raise


def _claimed(lease: Lease) -> Claimed:
    message_id, _, envelope = lease.messages
    head, _, body = envelope.partition(b"\n")
    overlay = lease.extras.get(message_id, (b"", b""))[0]
    plain = len(head) <= _MAX_KEPT_HEADER and not overlay
    header = _plain_header(head) if plain else read_header(head, overlay)
    return Claimed(message_id.decode(), spliced_body(header, body)[1], header.type or UNSET)


@lru_cache(4096)
def _plain_header(raw: bytes) -> Header:
    """Jobs of a type have the same one."""
    return read_header(raw)
