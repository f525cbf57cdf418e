"""Claim: leases for the next messages of one or more queues, waiting for them if asked to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from scaiqueue.access.gate import Standing, for_good
from scaiqueue.queueing import metrics, refusals
from scaiqueue.queueing.batching import MAX_BYTES, Batchers
from scaiqueue.queueing.configure import Repairer
from scaiqueue.queueing.directory import QueueEntry, ScopeEntry
from scaiqueue.queueing.waiting import WaitingRoom
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import ClaimItem
from scaiqueue.scripts.runner import Arg, ScriptRunner

# However many bounds end calls early, one claim asks only so often.
MAX_CALLS = 100


class ClaimRequest(msgspec.Struct, frozen=True):
    """What one caller wants. `key` is the Redis key of its claim id, "" for none."""

    queues: tuple[QueueEntry, ...]
    holder: str
    want: int
    strategy: str = "ordered"
    visibility_ms: Arg = ""
    key: str = ""
    wait_s: float = 0.0


class Lease(msgspec.Struct):
    """What one script call handed out under one token.

    `messages` are id, record and envelope of each, in a row; `extras` overlay and outcome of those that
    have one.
    """

    token: bytes
    messages: list[bytes]
    extras: dict[bytes, tuple[bytes, bytes]]

    @property
    def count(self) -> int:
        return len(self.messages) // 3

    @property
    def ids(self) -> list[bytes]:
        return self.messages[::3]

    @property
    def size(self) -> int:
        """Bytes of the envelopes."""
        return sum(map(len, self.messages[2::3]))


def _lease(reply: list[Any]) -> Lease:
    _, token, _, extras, *messages = reply
    if not extras:
        return Lease(token, messages, {})
    found = {extras[at]: (extras[at + 1], extras[at + 2]) for at in range(0, len(extras), 3)}
    return Lease(token, messages, found)


class Claimer:
    """Sends claims through the `claim` script; those of the same queues share a call."""

    def __init__(self, runner: ScriptRunner, room: WaitingRoom, repairer: Repairer) -> None:
        self._runner = runner
        self._room = room
        self._repairer = repairer
        self.batchers: Batchers[ClaimRequest, None, list[Any]] = Batchers()

    async def claim(
        self,
        scope: ScopeEntry,
        request: ClaimRequest,
        gone: asyncio.Future[Any] | None = None,
        standing: Standing = for_good,
    ) -> list[Lease]:
        """What the script hands out, nothing if there is nothing in time.

        `gone` ends the wait when it is done: nobody listens any more. `standing` is asked before each look.
        Raises its error, and QueueError for a queue that is paused, archived, read-only or gone.
        """
        if not request.wait_s:
            return await self._take(scope, request)
        deadline = time.monotonic() + request.wait_s
        with self._room.seat([queue.keys for queue in request.queues]) as seat:
            while True:
                seat.woken.clear()
                stands_s = await standing()
                taken = await self._take(scope, request)
                left = deadline - time.monotonic()
                if taken or left <= 0 or self._room.closing:
                    seat.pass_on = bool(taken) or seat.woken.is_set()
                    return taken
                with metrics.claims_waiting.track_inprogress():
                    await _first(seat.woken, gone, min(left, stands_s))
                if gone is not None and gone.done():
                    seat.pass_on = seat.woken.is_set()
                    return []

    async def _take(self, scope: ScopeEntry, request: ClaimRequest) -> list[Lease]:
        leases: list[Lease] = []
        count = size = 0
        wanted = request
        for _ in range(MAX_CALLS):
            reply = await self._ask(scope, wanted)
            if len(reply) > 1:
                leases.append(_lease(reply))
                count += leases[-1].count
            if reply[0] != "MORE" or count >= request.want or (request.key and leases):
                break
            if len(reply) > 1:
                size += leases[-1].size
            if size >= MAX_BYTES:
                break
            wanted = msgspec.structs.replace(request, want=request.want - count, wait_s=0.0)
        metrics.count(scope.row.tenant_id, scope.row.slug, "claim", count)
        return leases

    async def _ask(self, scope: ScopeEntry, request: ClaimRequest) -> list[Any]:
        _, (reply,) = await self._submit(scope, request)
        if reply[0] == "NOT_FOUND" and await self._repairer.repair(
            scope, {queue.slug for queue in request.queues}
        ):
            _, (reply,) = await self._submit(scope, request)
        if reply[0] == "READONLY" and any(q.settings.consumer_mode == "broadcast" for q in request.queues):
            raise refusals.broadcast()
        if reply[0] not in ("OK", "EMPTY", "MORE"):
            raise refusals.of_reply(reply)
        return reply

    def _submit(
        self, scope: ScopeEntry, request: ClaimRequest
    ) -> asyncio.Future[tuple[None, Sequence[list[Any]]]]:
        key = (scope.id, request.strategy, *[queue.slug for queue in request.queues])
        batcher = self.batchers.of(key, lambda batch: self._call(scope, batch))
        return batcher.submit((request,), count=request.want)

    async def _call(self, scope: ScopeEntry, requests: list[ClaimRequest]) -> tuple[None, list[list[Any]]]:
        metrics.count_call("claim", len(requests))
        keys = list(dict.fromkeys(request.key for request in requests if request.key))
        places = {key: place for place, key in enumerate(keys, 1)}
        items = [
            ClaimItem(
                request.holder,
                request.want,
                request.visibility_ms,
                places[request.key] if request.key else "",
            )
            for request in requests
        ]
        queues = [queue.keys for queue in requests[0].queues]
        reply = await binding.claim(self._runner, scope.keys, queues, keys, requests[0].strategy, items)
        return None, reply.items


async def _first(woken: asyncio.Event, gone: asyncio.Future[Any] | None, seconds: float) -> None:
    """Until the event is set, the caller is gone, or the time is over."""
    waiting = asyncio.ensure_future(woken.wait())
    try:
        await asyncio.wait(
            {waiting, gone} if gone is not None else {waiting},
            timeout=seconds,
            return_when=asyncio.FIRST_COMPLETED,
        )
    finally:
        waiting.cancel()
