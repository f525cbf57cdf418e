"""Figures of a queue: depths, age, and transitions per minute of the last hour."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from scaiqueue import moments
from scaiqueue.api.answers import Rendered
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.rows import rates

stats = Registry("Queues")

Counts = Annotated[list[int], Meta(description="60 counts, one a minute, the oldest first.")]


class Stats(msgspec.Struct, kw_only=True):
    """`per_minute`: by event, such as published, claimed, completed, failed, dead_lettered. `oldest_age_s`
    of the pending messages. The last minute is still running."""

    queue_id: str
    effective_state: str
    depth_pending: int
    depth_claimed: int
    depth_scheduled: int
    oldest_age_s: float | None
    since: str
    per_minute: dict[str, Counts]


@stats("GET /scopes/{scope}/queues/{queue}/stats", "Get a queue's depths, age and rates", answer=Stats)
async def queue_stats(call: Call) -> Rendered:
    scope, row = await call.fresh_queue()
    keys = scope.keys.queue(row.slug)
    (depths,) = await call.services.depths([(keys, row.parsed.ordering)])
    now = moments.now_ms()
    oldest = now // rates.MINUTE_MS - 59
    found = await rates.per_minute(call.services.engine, scope.id, row.slug, now)
    return call.one(
        Stats(
            queue_id=row.id,
            effective_state=depths.effective_state or row.state,
            depth_pending=depths.pending,
            depth_claimed=depths.claimed,
            depth_scheduled=depths.scheduled,
            oldest_age_s=depths.oldest_age_s,
            since=moments.text(oldest * rates.MINUTE_MS),
            per_minute={
                event: [counts.get(minute, 0) for minute in range(oldest, oldest + 60)]
                for event, counts in sorted(found.items())
            },
        )
    )
