"""Listens whether Redis answers, and moves the mode: away from a Redis that is silent, and back again.

Silence is counted in slices that this process was awake for, so that one that was itself held up does not
take that for Redis' silence.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from scaiqueue.fallback import members, mode
from scaiqueue.fallback.belief import Belief
from scaiqueue.fallback.mode import Mode, ModeRow
from scaiqueue.persister.tasks import cancel_all, happens_within

log = structlog.get_logger("scaiqueue.fallback")

SLICE_S = 0.1
LOOK_S = 0.4
LOOK_WHILE_SWITCHING_S = 0.1
DEAF_AFTER = 10
GIVE_UP_AFTER = 20
# So many answers in a row, and Redis is there again.
ANSWERS = 3
# Others hear Redis, this process doesn't: it does not ask again so soon.
VETOED_S = 10.0
RETRY_S = 0.5

Recover = Callable[[], Awaitable[object]]


class Watch:
    """`redis` should be this one's alone; the connections of `redis_of_all` are closed after a long silence.

    `recover` makes the index whole. With a `silence_s` of 0 Redis is never left.
    """

    def __init__(
        self, redis: Redis, redis_of_all: Redis, belief: Belief, silence_s: float, recover: Recover
    ) -> None:
        self._redis = redis
        self._redis_of_all = redis_of_all
        self._belief = belief
        self._slices = max(1, round(silence_s / SLICE_S)) if silence_s else None
        self._deaf_after = self._slices or DEAF_AFTER
        self._recover = recover
        self._silent = 0
        self._answers = 0
        self._quiet_until = 0.0
        self._doubted: int | None = None
        self._tidied = 0
        self._turned_deaf = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        loops = (self._listen(), self._move())
        self._tasks = [asyncio.create_task(loop) for loop in loops]

    async def stop(self) -> None:
        await cancel_all(self._tasks)
        await self._redis.aclose()

    async def _listen(self) -> None:
        asking: asyncio.Task[None] | None = None
        while True:
            asking = asking or asyncio.create_task(self._ask())
            await asyncio.wait({asking}, timeout=SLICE_S)
            if not asking.done():
                self._unanswered()
                if self._silent % GIVE_UP_AFTER == 0:
                    # What waits for a Redis that is frozen, or cut off without a word, may never hear of it.
                    await cancel_all([asking])
                    for client in (self._redis, self._redis_of_all):
                        await _hang_up(client)
                    asking = None
                continue
            if asking.exception() is None:
                self._silent, self._answers, self._belief.hears_redis = 0, self._answers + 1, True
            else:
                self._unanswered()
            asking = None
            await asyncio.sleep(SLICE_S)

    async def _ask(self) -> None:
        await self._redis.ping()

    def _unanswered(self) -> None:
        self._silent, self._answers = self._silent + 1, 0
        if self._silent >= self._deaf_after and self._belief.hears_redis:
            self._belief.hears_redis = False
            self._turned_deaf.set()

    async def _move(self) -> None:
        """Reads the mode row for the whole process, and does what it and Redis ask for."""
        while True:
            await self._belief.refresh()
            settled = self._belief.row.mode is Mode.redis and self._belief.hears_redis
            try:
                await self._step()
            except Exception as error:  # whatever it was, the next look may go well
                log.warning("mode_not_moved", mode=self._belief.row.mode.value, error=repr(error)[:300])
                await asyncio.sleep(RETRY_S)
            await happens_within(self._turned_deaf, LOOK_S if settled else LOOK_WHILE_SWITCHING_S)
            self._turned_deaf.clear()

    async def _step(self) -> None:
        belief, engine = self._belief, self._belief.engine
        row = belief.row
        if row.mode is Mode.redis and belief.hears_redis:
            self._doubted, self._quiet_until = None, 0.0
            if self._tidied != row.term:
                self._tidied = row.term
                self._tasks.append(asyncio.create_task(self._tidy(row.term)))
            return
        if row.mode is Mode.leaving and self._answers:
            await mode.veto(engine, row.term)
        elif row.mode is Mode.leaving and row.age_s >= mode.LEAVING_S:
            await mode.leave(engine, row.term)
        elif row.mode is Mode.fallback:
            self._doubted = None
            if self._answers >= ANSWERS:
                await mode.begin_return(engine, row.term)
        elif row.mode is Mode.returning and belief.hears_redis:
            await self._recover()
            await mode.end_return(engine, row.term)
        elif not belief.hears_redis and row.mode in (Mode.redis, Mode.returning):
            await self._doubt(row)
        await belief.refresh()

    async def _tidy(self, term: int) -> None:
        """What a time without Redis has left behind; other processes do the same, and one is enough."""
        try:
            await members.drop_terms(self._belief.engine, term)
        except (SQLAlchemyError, OSError) as error:
            log.warning("terms_not_dropped", term=term, error=str(error)[:300])

    async def _doubt(self, row: ModeRow) -> None:
        if self._slices is None:
            return
        if self._doubted is not None and row.term == self._doubted and row.mode is Mode.redis:
            self._doubted, self._quiet_until = None, time.monotonic() + VETOED_S
        if time.monotonic() >= self._quiet_until:
            await mode.doubt(self._belief.engine)
            self._doubted = row.term + 1


async def _hang_up(client: Redis) -> None:
    try:
        await client.connection_pool.disconnect()
    except (RedisError, OSError) as error:
        log.warning("connections_not_closed", error=str(error))
