"""From rows to what the scripts obey: the fields of the `configure` script."""

from __future__ import annotations

import msgspec

from scaiqueue.keys import DEAD_LETTER, OUTBOUND, SYSTEM_QUEUES
from scaiqueue.rows.queues import Access, Aging, Backoff, QueueRow, QueueSettings
from scaiqueue.rows.scopes import ScopeRow


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def backoff_text(backoff: Backoff) -> str:
    """`strategy base_ms factor max_ms jitter`"""
    return (
        f"{backoff.strategy} {round(backoff.base_s * 1000)} {_number(backoff.factor)} "
        f"{round(backoff.max_s * 1000)} {backoff.jitter}"
    )


def aging_text(aging: Aging | None) -> str:
    """`after_ms step every_ms`, or "" for none."""
    return "" if aging is None else f"{aging.after_s * 1000} {aging.step} {aging.every_s * 1000}"


def queue_fields(queue: QueueRow) -> dict[str, str]:
    """Fields of a queue's meta hash."""
    settings = queue.parsed
    return {
        "state": queue.state,
        "ordering": settings.ordering,
        "mode": settings.consumer_mode,
        "max_depth": str(settings.max_depth),
        "overflow": settings.overflow_policy,
        "max_retries": str(settings.max_retries),
        "visibility_ms": str(settings.visibility_timeout_s * 1000),
        "backoff": backoff_text(settings.backoff),
        "require_token": str(int(settings.require_claim_token)),
        "aging": aging_text(settings.aging),
        "access": "broadcast" if settings.consumer_mode == "broadcast" else settings.access,
    }


def copies_settings(queue: QueueRow) -> QueueSettings:
    """Of the queue that holds a subscription's copies: those of the broadcast queue."""
    return msgspec.structs.replace(
        queue.parsed, consumer_mode="competing", access="copies", broadcast_queue=queue.id
    )


def scope_fields(scope: ScopeRow) -> dict[str, str]:
    """Fields of a scope's meta hash."""
    return {"state": scope.state}


def system_queue_settings(slug: str, visibility_timeout_s: int) -> QueueSettings:
    """The dead letter and what leaves the scope can be claimed but not published into; the others are views
    over tables."""
    if slug not in SYSTEM_QUEUES:
        raise ValueError(f"{slug} is no system queue")
    access: Access = {DEAD_LETTER: "noput", OUTBOUND: "relay"}.get(slug, "readonly")  # type: ignore[assignment]
    return QueueSettings(visibility_timeout_s=visibility_timeout_s, access=access)
