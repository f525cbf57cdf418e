"""Long polls without a connection each: woken by a queue's wake-up, or when something in it falls due.

One message wakes one waiter, the one who has waited longest. Who leaves with messages wakes two more, so a
batch reaches many at once, and a single message does not stir a thousand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from scaiqueue.keys import QueueKeys, Shard

LOOK_EVERY_S = 0.2
# A wake-up may be lost with the subscriber connection: every so many looks the queues themselves are asked,
# once for all who wait, however many those are.
LOOKS_A_COUNT = 10
PASSED_ON_TO = 2
ROOTS_A_LOOK = 1000

_log = structlog.get_logger("scaiqueue.waiting")


class Seat:
    """`woken` is set whenever one of the queues may have something: clear it before looking.

    `pass_on`: whoever leaves wakes others, unless it has just seen that there is nothing.
    """

    __slots__ = ("pass_on", "woken")

    def __init__(self) -> None:
        self.woken = asyncio.Event()
        self.pass_on = True


class _Row:
    """The seats of one queue."""

    __slots__ = ("seats", "shard")

    def __init__(self, queue: QueueKeys) -> None:
        self.shard = queue.scope.shard
        self.seats: dict[Seat, None] = {}


class WaitingRoom:
    """Who waits for which queue. One task looks at the due index for all of them, while there are any."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiting: dict[str, _Row] = {}
        self._someone = asyncio.Event()
        self.closing = False

    @contextmanager
    def seat(self, queues: Sequence[QueueKeys]) -> Iterator[Seat]:
        """A place among those who wait for the queues."""
        seat = Seat()
        by_root = {queue.root: queue for queue in queues}
        for root, queue in by_root.items():
            row = self._waiting.get(root)
            if row is None:
                row = self._waiting[root] = _Row(queue)
            row.seats[seat] = None
        self._someone.set()
        try:
            yield seat
        finally:
            for root in by_root:
                seats = self._waiting[root].seats
                del seats[seat]
                if not seats:
                    del self._waiting[root]
                elif seat.pass_on:
                    self.wake(root, PASSED_ON_TO)

    def wake(self, root: str, most: int = 1) -> None:
        """Wake those who wait longest for a queue and aren't awake yet."""
        row = self._waiting.get(root)
        for seat in row.seats if row is not None else ():
            if not seat.woken.is_set():
                seat.woken.set()
                most -= 1
                if most == 0:
                    break

    def wake_all(self) -> None:
        for root, row in self._waiting.items():
            self.wake(root, len(row.seats))

    def close(self) -> None:
        """Answer every waiting claim now, and let none wait any more."""
        self.closing = True
        self.wake_all()

    async def run(self) -> None:
        """Wake the waiters of queues that have something, or something falling due, until cancelled."""
        looks = 0
        while True:
            if not self._waiting:
                self._someone.clear()
                await self._someone.wait()
            looks += 1
            try:
                await self._look(count=looks % LOOKS_A_COUNT == 0)
            except (RedisError, OSError) as error:
                _log.warning("due index not readable", error=str(error))
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self, *, count: bool) -> None:
        shards: dict[int, list[str]] = {}
        for root, row in self._waiting.items():
            shards.setdefault(row.shard.number, []).append(root)
        for number, roots in shards.items():
            for start in range(0, len(roots), ROOTS_A_LOOK):
                await self._look_at(Shard(number), roots[start : start + ROOTS_A_LOOK], count)

    async def _look_at(self, shard: Shard, roots: list[str], count: bool) -> None:
        loop = asyncio.get_running_loop()
        pipe = self._redis.pipeline(transaction=False)
        pipe.time()
        pipe.zmscore(shard.due, roots)
        for root in roots if count else ():
            pipe.zcard(f"{root}:pending")
        (seconds, micros), dues, *depths = await pipe.execute()
        now = seconds * 1000 + micros / 1000
        for root, due in zip(roots, dues, strict=True):
            if due is not None and due <= now + LOOK_EVERY_S * 1000:
                loop.call_later(max(0.0, (due - now) / 1000), self.wake, root)
        for root, depth in zip(roots, depths, strict=False):
            if depth:
                self.wake(root)
