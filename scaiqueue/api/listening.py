"""What listeners may ask for, and that they still may: the same over Server-Sent Events and WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from scaiqueue.api.endpoint import Call
from scaiqueue.api.routes.reading import queue_slug
from scaiqueue.api.validation import invalid
from scaiqueue.api.words import ShortText
from scaiqueue.errors import Detail
from scaiqueue.events import metrics
from scaiqueue.events.envelope import Told
from scaiqueue.events.kinds import Choice, is_pattern
from scaiqueue.queueing.directory import ScopeEntry
from scaiqueue.rows.events import Place


class Listen(msgspec.Struct, frozen=True, kw_only=True):
    """Which events; without conditions all of the scope's. The header `Last-Event-ID` goes before the
    parameter."""

    type: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=2000,
                description="Types with commas between, such as `scaiqueue.message.completed,hitl.*`.",
            ),
        ]
        | None
    ) = None
    queue: Annotated[ShortText, Meta(description="Id or slug of a queue.")] | None = None
    correlation_id: Annotated[ShortText, Meta(description="Of the messages.")] | None = None
    last_event_id: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=64,
                description="The `id` of the last event that was received; `0`: all that are kept.",
            ),
        ]
        | None
    ) = None


class Listener:
    """One connection that events of a scope are told to."""

    def __init__(
        self,
        call: Call,
        scope: ScopeEntry,
        place: Place,
        choice: Choice | None,
        queue: str | None,
        correlation_id: str | None,
    ) -> None:
        self._call = call
        self._scope = scope
        self.place = place
        self._choice = choice
        self._queue = queue
        self._queues: frozenset[str] | None = frozenset()
        self._changes = -1
        self._correlation_id = correlation_id

    @classmethod
    async def of(cls, call: Call) -> Listener:
        """Raises what is wrong with the call."""
        asked = call.query(Listen)
        scope = await call.scope()
        last = call.request.headers.get("last-event-id") or asked.last_event_id
        try:
            place = await call.services.feed.start(scope.keys, last)
        except ValueError:
            raise invalid(Detail("last_event_id", "Not the id of an event that was sent")) from None
        listener = cls(call, scope, place, _choice(asked.type), asked.queue, asked.correlation_id)
        await listener._check()
        return listener

    async def told(self, by: str) -> AsyncIterator[list[Told]]:
        """What is wanted as it comes, and an empty list at least once a second.

        Raises when the caller may not listen any more.
        """
        counter = metrics.told_total.labels(by)
        async for page in self._call.services.feed.follow(self._scope.keys, self.place):
            await self._check()
            wanted = [event for event in page.told if self._wants(event)]
            self.place = page.reached
            counter.inc(len(wanted))
            yield wanted

    def _wants(self, event: Told) -> bool:
        return (
            (self._choice is None or self._choice.has(event.event_type))
            and (self._queues is None or event.queue in self._queues)
            and (self._correlation_id is None or event.correlation_id == self._correlation_id)
        )

    async def _check(self) -> None:
        """Whoever may not listen any more hears no more, nor of queues that were closed meanwhile."""
        call, access = self._call, self._call.services.access
        authorization = call.request.headers.get("authorization")
        keys = call.services.key_ring
        call.principal = keys.known(authorization) or await keys.authenticate(authorization)
        scope = await call.services.directory.scope(call.principal.tenant, self._scope.id)
        await access.admit(call.principal, call.permission, scope.id)
        if access.changes != self._changes:
            self._changes = access.changes
            self._queues = await _open_queues(call, scope, self._queue)


async def _open_queues(call: Call, scope: ScopeEntry, queue: str | None) -> frozenset[str] | None:
    """Slugs of those that are asked for and open to the key; None: all of the scope."""
    slug = await queue_slug(call, scope, queue)
    slugs = [slug] if slug is not None else await call.allowed_slugs(scope)
    return None if slugs is None else frozenset(slugs)


def _choice(text: str | None) -> Choice | None:
    if text is None:
        return None
    patterns = [part.strip() for part in text.split(",")]
    wrong = wrong_patterns(patterns)
    if wrong:
        raise invalid(*(Detail("type", f"{pattern!r} is no type of event") for pattern in wrong))
    return Choice(patterns)


def wrong_patterns(patterns: Sequence[str]) -> list[str]:
    return [pattern for pattern in patterns if not is_pattern(pattern)]
