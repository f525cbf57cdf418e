"""Claim: leases for the next messages of one or more queues, waiting for them if asked to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

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


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """What one caller wants. `key` is the Redis key of its claim id, "" for none."""

    queues: tuple[QueueEntry, ...]
    holder: str
    want: int
    strategy: str = "ordered"
    visibility_ms: Arg = ""
    key: str = ""
    wait_s: float = 0.0


@dataclass(slots=True)
class _Taken:
    messages: list[list[Any]] = field(default_factory=list)
    size: int = 0
    more: bool = False


class Claimer:
    """Sends claims through the `claim` script; those of the same queues share a call."""

    def __init__(self, runner: ScriptRunner, room: WaitingRoom, repairer: Repairer) -> None:
        self._runner = runner
        self._room = room
        self._repairer = repairer
        self.batchers: Batchers[ClaimRequest, list[Any]] = Batchers()

    async def claim(
        self, scope: ScopeEntry, request: ClaimRequest, gone: asyncio.Future[Any] | None = None
    ) -> list[list[Any]]:
        """Messages as the script gives them (see claimed_message), none if there are none in time.

        `gone` ends the wait when it is done: nobody listens any more. Raises QueueError for a queue that
        is paused, archived, read-only or gone.
        """
        deadline = time.monotonic() + request.wait_s
        with self._room.seat([queue.keys for queue in request.queues]) as seat:
            while True:
                seat.woken.clear()
                taken = await self._take(scope, request)
                left = deadline - time.monotonic()
                if taken or left <= 0 or self._room.closing or (gone is not None and gone.done()):
                    seat.pass_on = bool(taken) or seat.woken.is_set()
                    return taken
                with metrics.claims_waiting.track_inprogress():
                    await _first(seat.woken, gone, left)

    async def _take(self, scope: ScopeEntry, request: ClaimRequest) -> list[list[Any]]:
        taken = _Taken()
        wanted = request
        for _ in range(MAX_CALLS):
            reply = await self._ask(scope, wanted)
            taken.messages += reply[1:]
            taken.size += sum(len(message[3]) for message in reply[1:])
            missing = request.want - len(taken.messages)
            if reply[0] != "MORE" or missing <= 0 or taken.size >= MAX_BYTES:
                break
            if request.key and taken.messages:
                break
            wanted = ClaimRequest(
                request.queues,
                request.holder,
                missing,
                request.strategy,
                request.visibility_ms,
                request.key,
            )
        metrics.count(scope.row.tenant_id, scope.row.slug, "claim", len(taken.messages))
        return taken.messages

    async def _ask(self, scope: ScopeEntry, request: ClaimRequest) -> list[Any]:
        reply = await self._submit(scope, request)
        if reply[0] == "NOT_FOUND" and await self._repairer.repair(
            scope, {queue.slug for queue in request.queues}
        ):
            reply = await self._submit(scope, request)
        if reply[0] not in ("OK", "EMPTY", "MORE"):
            raise refusals.of_reply(reply)
        return reply

    async def _submit(self, scope: ScopeEntry, request: ClaimRequest) -> list[Any]:
        key = (scope.id, request.strategy, *(queue.slug for queue in request.queues))
        batcher = self.batchers.of(key, lambda batch: self._call(scope, batch))
        (reply,) = await batcher.submit([request], count=request.want)
        return reply

    async def _call(self, scope: ScopeEntry, requests: list[ClaimRequest]) -> Sequence[list[Any]]:
        metrics.call_items.labels("claim").observe(len(requests))
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
        return [_by_message(item) for item in reply.items]


def _by_message(reply: list[Any]) -> list[Any]:
    """From the script's flat reply: its word, then of each message id, token, record, envelope, outcome."""
    if reply[0] not in ("OK", "MORE") or len(reply) == 1:
        return reply
    word, token, _lease_end, extras = reply[:4]
    outcomes = dict(zip(extras[::3], extras[2::3], strict=True))
    found: list[Any] = [word]
    for message_id, record, envelope in zip(reply[4::3], reply[5::3], reply[6::3], strict=True):
        found.append((message_id, token, record, envelope, outcomes.get(message_id, b"")))
    return found


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
