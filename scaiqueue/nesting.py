"""How deeply JSON values may be nested: not every reader takes all that one of them does."""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 100
TOO_DEEP = f"Nested in more than {MAX_DEPTH} levels"


def too_deep(value: Any) -> bool:
    """True for a value nested in more than MAX_DEPTH levels."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            part
            for whole in level
            if isinstance(whole, dict | list)
            for part in (whole.values() if isinstance(whole, dict) else whole)
        ]
        if not level:
            return False
    return True
