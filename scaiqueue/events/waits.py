"""Waiting for one message: its row is looked at again when an event names it, not before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from sqlalchemy.exc import SQLAlchemyError

from scaiqueue.events import metrics
from scaiqueue.events.pulse import Pulse
from scaiqueue.events.reader import EventReader
from scaiqueue.keys import ScopeKeys
from scaiqueue.persister.tasks import cancel_all, happens_within

LOOK_EVERY_S = 1.0

_log = structlog.get_logger("scaiqueue.events")


class _Watch:
    """Who waits in one scope, and the task that follows the scope's events for all of them."""

    def __init__(self) -> None:
        self.seats: dict[str, list[asyncio.Event]] = {}
        self.started = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class Waits:
    """`seat` gives an Event that is set when the message has had a transition, or the process stops."""

    def __init__(self, reader: EventReader, pulse: Pulse) -> None:
        self._reader = reader
        self._pulse = pulse
        self._watches: dict[str, _Watch] = {}

    @asynccontextmanager
    async def seat(self, scope: ScopeKeys, message_id: str) -> AsyncIterator[asyncio.Event]:
        """What the rows say after this was entered is either seen there, or announced by the event."""
        watch = self._watches.get(scope.scope_id)
        if watch is None:
            watch = self._watches[scope.scope_id] = _Watch()
            watch.task = asyncio.create_task(self._follow(scope, watch))
        moved = asyncio.Event()
        watch.seats.setdefault(message_id, []).append(moved)
        metrics.waits.inc()
        try:
            await watch.started.wait()
            yield moved
        finally:
            metrics.waits.dec()
            watch.seats[message_id].remove(moved)
            if not watch.seats[message_id]:
                del watch.seats[message_id]
            if not watch.seats and self._watches.get(scope.scope_id) is watch:
                del self._watches[scope.scope_id]
                if watch.task is not None:
                    watch.task.cancel()

    async def stop(self) -> None:
        await cancel_all(watch.task for watch in self._watches.values() if watch.task is not None)

    async def _follow(self, scope: ScopeKeys, watch: _Watch) -> None:
        place = None
        while not self._pulse.closing:
            beat = self._pulse.next(scope.shard.number)
            more = False
            try:
                if place is None:
                    place = await self._reader.end(scope.shard.number)
                    watch.started.set()
                else:
                    moved, place, more = await self._reader.changed_in(scope, place)
                    for message_id in watch.seats.keys() & moved:
                        _set_all(watch.seats[message_id])
            except (SQLAlchemyError, OSError) as error:
                _log.warning("events not readable", scope_id=scope.scope_id, error=str(error))
            if not more:
                await happens_within(beat, LOOK_EVERY_S)
        watch.started.set()
        for seats in watch.seats.values():
            _set_all(seats)


def _set_all(events: list[asyncio.Event]) -> None:
    for event in events:
        event.set()
