"""Instants: ms since 1970 inside, RFC 3339 UTC with milliseconds outside."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache

LATEST_MS = 4_133_980_799_999  # end of the year 2100, the last deadline that a score can hold


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def text(ms: int) -> str:
    """`2026-01-31T12:00:00.000Z`"""
    seconds, rest = divmod(ms, 1000)
    return f"{_whole(seconds)}.{rest:03d}Z"


@lru_cache(4096)
def _whole(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")[:-6]


def optional_text(ms: int) -> str | None:
    """As `text`; 0 means none."""
    return text(ms) if ms else None


def milliseconds(moment: datetime) -> int:
    """Of a moment with a time zone."""
    return round(moment.timestamp() * 1000)
