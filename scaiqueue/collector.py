"""Python's garbage collector in processes that serve."""

from __future__ import annotations

import gc


def rest_the_collector() -> None:
    """What lives as long as the process needs no looking at: it would delay requests by milliseconds."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
