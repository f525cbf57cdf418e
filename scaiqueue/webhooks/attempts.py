"""What an attempt leaves behind: a delivery that is made, tried again later, or given up."""

from __future__ import annotations

import random

from msgspec.structs import replace

from scaiqueue.moments import now_ms
from scaiqueue.rows.webhook_deliveries import DELIVERED, FAILED, PENDING, DeliveryRow
from scaiqueue.webhooks.sender import Answer

FACTOR = 4
LONGEST_DELAY_S = 3600.0


def delay_s(attempts: int, base_s: float, asked_s: float = 0.0) -> float:
    """Before the next one after so many attempts: half to whole of an exponential delay, or what the receiver
    asked for."""
    whole = min(base_s * float(FACTOR ** (attempts - 1)), LONGEST_DELAY_S)
    return max(asked_s, whole * (0.5 + random.random() / 2))


def after(row: DeliveryRow, answer: Answer, max_retries: int, base_s: float) -> DeliveryRow:
    """The delivery after one more attempt."""
    now, attempts = now_ms(), row.attempts + 1
    state, next_at = DELIVERED, 0
    if answer.error:
        state = FAILED
        if attempts <= max_retries:
            state, next_at = PENDING, now + round(delay_s(attempts, base_s, answer.retry_after_s) * 1000)
    return replace(
        row,
        state=state,
        attempts=attempts,
        next_at=next_at,
        status_code=answer.status,
        error=answer.error,
        duration_ms=answer.duration_ms,
        updated_at=now,
    )
