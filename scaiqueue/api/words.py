"""Kinds of values that callers send, with their limits."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

# A plain `$` would let a trailing line feed through.
_SLUG = r"^[a-z0-9][a-z0-9_-]{0,62}$(?!\n)"

Slug = Annotated[
    str,
    Meta(
        pattern=_SLUG,
        max_length=63,
        description="Lower-case letters, digits, `_` and `-`; never changes.",
        examples=["orders"],
    ),
]
Name = Annotated[str, Meta(min_length=1, max_length=256, examples=["Orders"])]
Description = Annotated[str, Meta(max_length=4096)]
ShortText = Annotated[str, Meta(min_length=1, max_length=256)]
ConsumerId = Annotated[
    str,
    Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)", description="Names one worker."),
]
ClaimToken = Annotated[
    str, Meta(max_length=40, pattern=r"^[0-9]{1,15}\.[0-9]{1,20}$(?!\n)", examples=["1.42"])
]
Uuid = Annotated[
    str,
    Meta(
        pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$(?!\n)",
        max_length=36,
        examples=["01939d2e-6f0c-7d52-b8c6-7a2f6c1f0a11"],
    ),
]
Seconds = Annotated[float, Meta(ge=0, le=31_536_000)]
VisibilitySeconds = Annotated[float, Meta(ge=1, le=43_200, description="Length of the lease.")]
Moment = Annotated[datetime, Meta(tz=True, description="RFC 3339 with an offset.")]
DocumentReference = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,62}(@[1-9][0-9]{0,8})?$(?!\n)",
        max_length=73,
        description="`name@version`; a name alone means its highest version.",
        examples=["order@2"],
    ),
]
DocumentVersion = Annotated[
    int, Meta(ge=1, le=999_999_999, description="Absent: one more than the highest of the name.")
]
