"""Waiting for a condition, with a bound, never for time alone."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(
    condition: Callable[[], T | Awaitable[T]], timeout: float = 20.0, interval: float = 0.01
) -> T:
    """Call `condition` (plain or async) until what it answers is true, and return that.

    A falsy answer or an AssertionError means "not yet". After `timeout` seconds the last
    AssertionError is raised, or one that shows the last answer.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while True:
        failure: AssertionError | None = None
        try:
            answer = condition()
            value = await answer if inspect.isawaitable(answer) else answer
            if value:
                return value
        except AssertionError as error:
            failure, value = error, None
        if loop.time() >= deadline:
            raise failure or AssertionError(f"still {value!r} after {timeout} s")
        await asyncio.sleep(interval)
