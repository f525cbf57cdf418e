"""Asks for messages: as many as there is room for, and never more than one way at a time needs."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence

from scaiqueue.client.errors import ClientError
from scaiqueue.client.leasing import Leases, Return, Strategy, Want
from scaiqueue.client.messages import Claimed
from scaiqueue.client.worker.holding import Holdings

MAX_BATCH = 1000
# How long an answer is waited for, and at most until the next attempt, when the queue is away.
_PAUSE_S = 5.0


class Intake:
    """While messages flow, the requests that settle take the next ones along (`offer`). When those find
    nothing, or nothing is being settled, a long poll waits (`run`)."""

    def __init__(
        self,
        leases: Leases,
        holdings: Holdings,
        queues: Sequence[str],
        *,
        visibility_timeout_s: float,
        wait_s: float,
        strategy: Strategy,
        consumer_id: str,
        arrived: Callable[[], None],
        settling: Callable[[], bool],
        trouble: Callable[[BaseException], None],
    ) -> None:
        self._leases = leases
        self._holdings = holdings
        self._queues = list(queues)
        self._visibility_timeout_s = visibility_timeout_s
        self._wait_s = wait_s
        self._strategy: Strategy = strategy
        self._consumer_id = consumer_id
        self._arrived = arrived
        self._settling = settling
        self._trouble = trouble
        self._asked = self._failures = 0
        self._dry = True
        self._polled: Want | None = None
        self._turn = asyncio.Event()
        self._open = True

    def offer(self) -> Want | None:
        """A claim to go with a settlement; `accept` or `withdraw` must follow."""
        return None if self._dry or self._polled is not None else self._want(0)

    def accept(self, want: Want, messages: Sequence[Claimed]) -> None:
        """What the offered claim brought."""
        self._take(want, messages)
        self.nudge()

    def _take(self, want: Want, messages: Sequence[Claimed]) -> None:
        self._asked -= want.batch_size
        self._dry = not messages
        until = time.monotonic() + self._visibility_timeout_s
        for message in messages:
            self._holdings.add(message, until)
        if messages:
            self._arrived()

    def withdraw(self, want: Want) -> None:
        """The claim brought nothing, and says nothing of the queues."""
        self._asked -= want.batch_size
        self.nudge()

    def nudge(self) -> None:
        """There may be room now, and nobody who uses it."""
        self._turn.set()

    async def run(self, *, until_empty: bool = False) -> None:
        """Until it is closed; `until_empty`: or the queues are, and everything taken is settled.

        Raises Refused when asking again is useless.
        """
        self._turn.set()
        while self._open:
            await self._turn.wait()
            self._turn.clear()
            if self._settling() and not self._dry:
                continue
            want = self._want(0 if until_empty else self._wait_s) if self._asked == 0 else None
            if want is None:
                continue
            found = await self._poll(want)
            idle = not self._holdings.leases and not self._settling()
            if until_empty and found == 0:
                if idle:
                    return
            else:
                self._turn.set()

    async def _poll(self, want: Want) -> int:
        self._polled = want
        try:
            messages = await self._leases.claim(want)
        except ClientError as error:
            self._polled = None
            self._asked -= want.batch_size
            if not error.retryable:
                raise
            self._trouble(error)
            self._failures += 1
            await asyncio.sleep(random.uniform(0, min(_PAUSE_S, 0.1 * 2 ** min(self._failures, 10))))
            return -1
        self._polled, self._failures = None, 0
        self._take(want, messages)
        return len(messages)

    async def close(self) -> None:
        """Give back what a poll that is broken off may have been handed out. Call it when `run` has ended."""
        want, self._polled, self._open = self._polled, None, False
        if want is None:
            return
        want.wait_s = 0
        try:
            async with asyncio.timeout(_PAUSE_S):
                # The same claim id answers the same leases; new ones return just as untouched.
                messages = await self._leases.claim(want)
                if messages:
                    items = [Return(message.id, message.claim_token) for message in messages]
                    await self._leases.settle("release", items)
        except (ClientError, TimeoutError) as error:
            self._trouble(error)

    def stop(self) -> None:
        """No more offers."""
        self._open = False
        self._turn.set()

    def _want(self, wait_s: float) -> Want | None:
        size = min(self._holdings.room - self._asked, MAX_BATCH)
        if size < 1 or not self._open:
            return None
        self._asked += size
        return Want(
            queues=self._queues,
            batch_size=size,
            visibility_timeout_s=self._visibility_timeout_s,
            wait_s=wait_s,
            strategy=self._strategy,
            consumer_id=self._consumer_id,
        )
