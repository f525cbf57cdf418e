"""The events of scopes as they are committed: read once for all who follow, pulled by each at its own pace.

Nothing is kept for a listener but its place: who is slow reads on from the rows, and holds up nobody.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy.exc import SQLAlchemyError

from scaiqueue.errors import Code, QueueError
from scaiqueue.events import metrics
from scaiqueue.events.pulse import Pulse
from scaiqueue.events.reader import EventReader, Page
from scaiqueue.keys import ScopeKeys
from scaiqueue.persister.tasks import happens_within
from scaiqueue.rows.events import FIRST, Place

LOOK_EVERY_S = 1.0
KEPT_PAGES = 16
MOST_LISTENERS = 1000

_log = structlog.get_logger("scaiqueue.events")


class Feed:
    """Follow a scope with `follow`, within `listening`."""

    def __init__(self, reader: EventReader, pulse: Pulse) -> None:
        self.reader = reader
        self.pulse = pulse
        self._listeners = 0
        # By scope and place: listeners that are up to date all ask for the same page.
        self._reads: OrderedDict[tuple[str, Place], _Read] = OrderedDict()

    def require_room(self) -> None:
        """Raises RATE_LIMITED where the process has as many listeners as it takes."""
        if self._listeners >= MOST_LISTENERS:
            raise QueueError(Code.RATE_LIMITED, "This process has no room for more listeners.", retry_after=5)

    @contextmanager
    def listening(self, by: str) -> Iterator[None]:
        """A listener is there; `by` sse or websocket."""
        self._listeners += 1
        metrics.listeners.labels(by).inc()
        try:
            yield
        finally:
            self._listeners -= 1
            metrics.listeners.labels(by).dec()

    async def start(self, scope: ScopeKeys, last: str | None) -> Place:
        """Where a listener begins: behind what it had `last`, "0" for all that is kept, None for now.

        Raises ValueError for what is no place, SCAIQUEUE_EVENTS_GONE where events behind it are no longer
        kept, or the rows don't reach it.
        """
        if last == "0":
            return FIRST
        end = await self.reader.end(scope.shard.number)
        if last is None:
            return end
        place = Place.parse(last)
        horizon = await self.reader.horizon(scope.shard.number)
        if place > end or (horizon is not None and (place.epoch, place.n) < horizon):
            raise QueueError(Code.SCAIQUEUE_EVENTS_GONE)
        return place

    async def follow(self, scope: ScopeKeys, after: Place) -> AsyncIterator[Page]:
        """Pages behind `after` as they come, an empty one at least once a second, until the process stops."""
        while not self.pulse.closing:
            beat = self.pulse.next(scope.shard.number)
            page = await self._shared(scope, after, beat)
            after = page.reached
            yield page
            if not page.told and not page.more:
                await happens_within(beat, LOOK_EVERY_S)

    async def _shared(self, scope: ScopeKeys, after: Place, beat: asyncio.Event) -> Page:
        """What the rows can't answer now is asked again with the next look."""
        key = (scope.scope_id, after)
        read = self._reads.get(key)
        if read is None or not read.serves(beat):
            read = _Read(beat, asyncio.create_task(self.reader.of_scope(scope, after)))
            self._reads[key] = read
            while len(self._reads) > KEPT_PAGES:
                self._reads.popitem(last=False)
        try:
            # A listener that leaves must not take the page from the others.
            return await asyncio.shield(read.task)
        except (SQLAlchemyError, OSError) as error:
            _log.warning("events not readable", scope_id=scope.scope_id, error=str(error))
            return Page([], after, False)


class _Read:
    """A page on its way or there, and the beat since which it was asked for."""

    def __init__(self, beat: asyncio.Event, task: asyncio.Task[Page]) -> None:
        self.beat = beat
        self.task = task
        self._at = time.monotonic()

    def serves(self, beat: asyncio.Event) -> bool:
        """An empty page says nothing of what came after its beat, nor for long: a beat may be lost."""
        if self.task.done():
            if self.task.cancelled() or self.task.exception() is not None:
                return False
            if self.task.result().told:
                return True
        return beat is self.beat and time.monotonic() - self._at < 0.9 * LOOK_EVERY_S
