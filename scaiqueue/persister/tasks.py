"""Ending background tasks, and waiting with a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

ASK_AGAIN_SECONDS = 1.0


async def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel and wait for the end; a task whose cancellation a library swallowed is cancelled again."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=ASK_AGAIN_SECONDS)


async def together(*works: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run all at once; the first that fails, or a cancellation, ends the others too."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        await cancel_all(tasks)


async def happens_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for `event`, at most so long; unlike wait_for it never loses a cancellation."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
