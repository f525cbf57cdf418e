"""A stack whose persister can be stopped, and the checker on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from scaiqueue.integrity.checker import Checker
from scaiqueue.integrity.kinds import Finding
from scaiqueue.integrity.repair import Repairs
from scaiqueue.integrity.walk import Cursor
from scaiqueue.persister.service import Persister
from tests.eventually import eventually
from tests.stack import Stack, open_stack

SETTLE_S = 0.1


@dataclass
class Checked:
    """Everything that was published is in the rows unless the persister was stopped."""

    stack: Stack
    persister: Persister | None = None

    async def start(self) -> None:
        self.persister = self.stack.persister()
        await self.persister.start()

    async def stop(self) -> None:
        if self.persister is not None:
            await self.persister.stop()
        self.persister = None

    async def settled(self) -> None:
        """All of the journal is in the rows, and what has ended is forgotten."""
        assert self.persister is not None
        assert await self.persister.watermarks.wait_journal_end(self.stack.shard_number, 30)

        async def forgotten() -> bool:
            limits = await self.stack.redis.hgetall(self.stack.scope.shard.limits)
            return bool(limits[b"published"] == limits[b"persisted"])

        await eventually(forgotten)

    async def check(self, *, settle_s: float = SETTLE_S) -> list[Finding]:
        checker = Checker(self.stack.redis, self.stack.engine, shards=self.stack.shards, settle_s=settle_s)
        return (await checker.run(Cursor(), lambda: False)).findings

    async def repair(self, findings: list[Finding]) -> dict[Finding, str]:
        return await Repairs(self.stack.runner, self.stack.engine).apply(findings)


@asynccontextmanager
async def open_checked(redis: Redis, database_url: str) -> AsyncIterator[Checked]:
    async with open_stack(redis, database_url) as stack:
        checked = Checked(stack)
        await checked.start()
        try:
            yield checked
        finally:
            await checked.stop()


@pytest.fixture
async def checked(redis: Redis, sqlite_url: str) -> AsyncIterator[Checked]:
    async with open_checked(redis, sqlite_url) as found:
        yield found
