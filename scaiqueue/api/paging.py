"""Opaque cursors and the page parameters of every list."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from scaiqueue.api.validation import invalid
from scaiqueue.errors import Detail

Limit = Annotated[int, Meta(ge=1, le=500, description="At most so many; 50 if not given.")]
Cursor = Annotated[
    str, Meta(max_length=200, description="`next_cursor` of the page before; empty for the first page.")
]

T = TypeVar("T")


class Page(msgspec.Struct, frozen=True, kw_only=True):
    limit: Limit = 50
    cursor: Cursor = ""


def after(cursor: str) -> str:
    """The id that a cursor stands for. Raises VALIDATION_ERROR."""
    try:
        text = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:
        text = "?"
    if len(text) > 64 or not all(c.isalnum() or c == "-" for c in text):
        raise invalid(Detail("cursor", "Not a cursor that a list gave"))
    return text


def cursor_for(last_id: str) -> str:
    return urlsafe_b64encode(last_id.encode()).rstrip(b"=").decode()


def cut(rows: Sequence[T], limit: int) -> tuple[Sequence[T], bool]:
    """From `limit + 1` rows read: those of the page, and whether there are more."""
    return rows[:limit], len(rows) > limit
