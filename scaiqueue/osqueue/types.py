"""Job types, any text, as slugs of queues: a type that is a slug keeps its name, another gets a digest."""

from __future__ import annotations

import re
from functools import lru_cache

from scaiqueue.keys import digest, is_slug

UNTYPED = "untyped"
"""The queue of jobs without a type."""

_PREFIX, _DIGEST = 48, 12
_unfit = re.compile(r"[^a-z0-9_-]+")
# A type of this form could be mistaken for what is made of another one.
_digested = re.compile(rf"-[0-9a-f]{{{_DIGEST}}}$")


@lru_cache(4096)
def slug_of(job_type: str) -> str:
    """The slug of a type's queue, another for each type; that of no type for ""."""
    if not job_type:
        return UNTYPED
    if is_slug(job_type) and job_type != UNTYPED and _digested.search(job_type) is None:
        return job_type
    readable = _unfit.sub("-", job_type.lower()).strip("-_")[:_PREFIX]
    return f"{readable or 'type'}-{digest(job_type)[:_DIGEST]}"
