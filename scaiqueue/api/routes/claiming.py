"""Claim: leases for the next messages."""

from __future__ import annotations

import asyncio

import msgspec

from scaiqueue.api.admission import standing
from scaiqueue.api.answers import Rendered
from scaiqueue.api.claims import Claim, ClaimMany
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.api.validation import invalid
from scaiqueue.errors import Code, Detail
from scaiqueue.queueing.claim import ClaimRequest
from scaiqueue.queueing.directory import QueueEntry, ScopeEntry
from scaiqueue.queueing.message import ClaimedMessage
from scaiqueue.queueing.splicing import claimed_json
from scaiqueue.scripts.binding import ReleaseItem

claiming = Registry("Messages")

_claim = msgspec.json.Decoder(Claim)
_claim_many = msgspec.json.Decoder(ClaimMany)
CLAIM_ERRORS = (
    Code.SCAIQUEUE_SCOPE_PAUSED,
    Code.SCAIQUEUE_QUEUE_PAUSED,
    Code.SCAIQUEUE_SYSTEM_QUEUE_READONLY,
)


async def queues_named(call: Call, scope: ScopeEntry, names: list[str]) -> tuple[QueueEntry, ...]:
    """The queues, each once, in the order given."""
    found: dict[str, QueueEntry] = {}
    for name in names:
        queue = await call.queue_named(scope, name)
        found[queue.id] = queue
    return tuple(found.values())


async def take(
    call: Call, scope: ScopeEntry, queues: tuple[QueueEntry, ...], asked: Claim, strategy: str
) -> bytes:
    """The list that a claim for this request answers; what was leased for a caller who is gone returns at
    once."""
    settings = call.services.settings
    if asked.wait_s > settings.max_wait_s:
        raise invalid(Detail("wait_s", f"At most {settings.max_wait_s}"))
    holder = call.principal.holder(asked.consumer_id)
    request = ClaimRequest(
        queues=queues,
        holder=holder,
        want=asked.batch_size,
        strategy=strategy,
        visibility_ms=(
            "" if asked.visibility_timeout_s is None else round(asked.visibility_timeout_s * 1000)
        ),
        key=_claim_key(scope, queues, holder, asked.claim_id),
        wait_s=asked.wait_s,
    )
    if not asked.wait_s:
        taken = await call.services.claimer.claim(scope, request)
    else:
        gone = asyncio.ensure_future(_disconnected(call))
        try:
            taken = await call.services.claimer.claim(
                scope, request, gone, standing(call, scope.id, [queue.owner_id for queue in queues])
            )
            if gone.done() and taken and not request.key:
                items = [ReleaseItem(id, lease.token, holder) for lease in taken for id in lease.ids]
                await call.services.settlement.release.settle(scope, items)
        finally:
            gone.cancel()
    call.message_ids += b"".join([id for lease in taken for id in lease.ids]).decode()
    return claimed_json({queue.slug: queue.place for queue in queues}, taken)


def _claim_key(scope: ScopeEntry, queues: tuple[QueueEntry, ...], holder: str, claim_id: str | None) -> str:
    """A claim id counts for its holder and these queues."""
    if claim_id is None:
        return ""
    return scope.keys.claim(" ".join([holder, *(queue.slug for queue in queues)]), claim_id)


async def _disconnected(call: Call) -> None:
    while (await call.request.receive())["type"] != "http.disconnect":
        pass


@claiming(
    "POST /scopes/{scope}/queues/{queue}/messages/claim",
    "Claim the next messages of a queue",
    hot=True,
    body=Claim,
    body_optional=True,
    answer=ClaimedMessage,
    many=True,
    errors=CLAIM_ERRORS,
)
async def claim(call: Call) -> Rendered:
    """Answers a list, empty when there is none. Each message is leased: complete, fail, release or extend
    it with its `claim_token` before `lease_expires_at`, or it goes back."""
    queue = await call.queue()
    asked = await call.body(_claim, optional=True)
    return call.many(await take(call, queue.scope, (queue,), asked, "ordered"))


@claiming(
    "POST /scopes/{scope}/messages/claim",
    "Claim the next messages of several queues",
    hot=True,
    body=ClaimMany,
    answer=ClaimedMessage,
    many=True,
    errors=(*CLAIM_ERRORS, Code.SCAIQUEUE_QUEUE_NOT_FOUND),
)
async def claim_many(call: Call) -> Rendered:
    """Queues that are paused or archived are passed over, unless all of them are."""
    scope = await call.scope()
    asked = await call.body(_claim_many)
    queues = await queues_named(call, scope, asked.queues)
    return call.many(await take(call, scope, queues, asked, asked.strategy))
