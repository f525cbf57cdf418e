"""Answers the scripts' calls from the rows, with the scripts' replies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.fallback import holders, members, rows
from scaiqueue.fallback.call import Call, read_call
from scaiqueue.fallback.claim import claim
from scaiqueue.fallback.filling import fill
from scaiqueue.fallback.overdue import settle
from scaiqueue.fallback.publish import publish
from scaiqueue.fallback.work import Work
from scaiqueue.keys import QueueKeys, ScopeKeys
from scaiqueue.records import Version
from scaiqueue.rows.bulk import BulkWriter
from scaiqueue.rows.bulk_mariadb import MariaDbBulk
from scaiqueue.rows.bulk_sqlite import SqliteBulk
from scaiqueue.rows.engine import is_sqlite
from scaiqueue.scripts.replies import NotReadyError
from scaiqueue.scripts.runner import Arg

# A transaction that takes longer ends; its caller is told that it may have happened.
WITHIN_S = 10.0

Verb = Callable[[Work, Call], Awaitable[list[list[Any]]]]


class WrongEpoch(NotReadyError):
    """The call is of another epoch than its shard, or the shard is not whole."""

    def __init__(self, epoch: str) -> None:
        super().__init__(f"the shard is not at epoch {epoch or '(any)'}, or not whole")
        self.epoch = epoch


class FallbackRunner:
    """`run` is that of ScriptRunner. `committed` hears of every entry, `wake` of queues (by their root) that
    have something new, `max_body` is the shards' limit.

    `test_clock`: a call's own time counts, as on a server started for tests.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        max_body: int,
        committed: Callable[[int, Version], None] = lambda _shard, _version: None,
        wake: Callable[[str], None] = lambda _root: None,
        test_clock: bool = False,
    ) -> None:
        self.engine = engine
        self._bulk: BulkWriter = SqliteBulk() if is_sqlite(engine) else MariaDbBulk()
        self._committed = committed
        self._wake = wake
        self._test_clock = test_clock
        self._whole: set[members.Queue] = set()
        self._verbs: dict[str, Verb] = {
            "publish": partial(publish, max_body=max_body),
            "claim": claim,
            "complete": holders.complete,
            "fail": holders.fail,
            "release": holders.release,
            "extend": holders.extend,
        }

    async def run(self, name: str, keys: Sequence[str], args: Sequence[Arg], *, term: int) -> list[Any]:
        """Raises NotReadyError for a script that the rows can't answer, or another epoch than the call's."""
        verb = self._verbs.get(name)
        if verb is None:
            raise NotReadyError(f"{name} needs Redis, which is away")
        call = read_call(name, keys, args)
        if name == "claim":
            for slug in call.queues:
                await self._fill(call, term, slug)
        async with self._work(call.scope, term, call.epoch, call.now) as work:
            replies = await verb(work, call)
            version = await work.commit(name)
        self._tell(work, version)
        status = [b"OK", str(version).encode() if version else b""]
        return [[*status, work.now] if name == "publish" else status, *replies]

    async def settle(
        self, queue: QueueKeys, limit: int, *, term: int, epoch: str, now: int | None = None
    ) -> int:
        """At most `limit` messages of what is overdue in a queue; answers how many that were."""
        async with self._work(queue.scope, term, epoch, now) as work:
            await work.load_rules([queue.slug])
            count = await settle(work, queue.slug, limit)
            version = await work.commit("sweep")
        self._tell(work, version)
        return count

    def _tell(self, work: Work, version: Version | None) -> None:
        if version is None:
            return
        self._committed(work.scope.shard.number, version)
        for slug in work.woken:
            self._wake(work.scope.queue(slug).root)

    @asynccontextmanager
    async def _work(
        self, scope: ScopeKeys, term: int, epoch: str, now: int | None = None
    ) -> AsyncIterator[Work]:
        async with asyncio.timeout(WITHIN_S), self.engine.begin() as conn:
            locked = await rows.lock_shard(conn, scope.shard.number)
            if locked is None or str(locked[0].version.epoch) != epoch:
                raise WrongEpoch(epoch)
            position, clock = locked
            yield Work(conn, self._bulk, scope, term, position, now if self._test_clock and now else clock)

    async def _fill(self, call: Call, term: int, slug: str) -> None:
        """Page by page, each its own transaction, so that a long queue keeps nobody out for long."""
        queue = members.Queue(term, call.scope.scope_id, slug)
        while queue not in self._whole:
            async with self._work(call.scope, term, call.epoch, call.now) as work:
                await work.load_rules([slug])
                if await fill(work.conn, queue, work.rules(slug), work.epoch, work.now):
                    self._whole.add(queue)
