"""The runner of the façade: each call goes the way of the mode that holds, under the epoch of its shard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from redis.asyncio import Redis

from scaiqueue.fallback import metrics
from scaiqueue.fallback.belief import Belief, Path
from scaiqueue.fallback.runner import FallbackRunner, WrongEpoch
from scaiqueue.scripts.replies import NotReadyError
from scaiqueue.scripts.runner import Arg, Call, Execute, ScriptRunner

NOT_READY = b"NOT_READY"
AWAY = "Redis is away, or comes back"


class Gate(ScriptRunner):
    """The first key of every call is its shard's epoch key, the first argument the epoch that it is for.

    A call of another epoch is refused as NOT_READY: then the rows are asked, and the call goes once more.
    """

    def __init__(
        self, redis: Redis, belief: Belief, rows: FallbackRunner, execute: Execute | None = None
    ) -> None:
        super().__init__(redis, execute=execute)
        self.belief = belief
        self.rows = rows

    async def run(self, name: str, keys: Sequence[str], args: Sequence[Arg]) -> list[Any]:
        """As ScriptRunner.run. `args` are this call's own: the epoch is put into them."""
        if self.belief.stale:
            await self.belief.refresh()
        try:
            answer = await self._run(name, keys, args)
        except WrongEpoch as wrong:
            await self.belief.refresh()
            if self.belief.epochs.get(keys[0]) == wrong.epoch:
                raise
            answer = await self._run(name, keys, args)
        return answer

    async def _run(self, name: str, keys: Sequence[str], args: Sequence[Arg]) -> list[Any]:
        path, epoch = self.belief.path, self.belief.epochs.get(keys[0], "")
        cast(list[Arg], args)[0] = epoch
        if path is Path.redis:
            answer = await super().run(name, keys, args)
            if answer[0][0] == NOT_READY:
                raise WrongEpoch(epoch)
            if self.belief.path is not Path.redis:
                raise NotReadyError(AWAY)  # an answer from before, too late to be told
            return answer
        if path is Path.rows:
            metrics.fallback_calls.labels(name).inc()
            return await self.rows.run(name, keys, args, term=self.belief.row.term)
        raise NotReadyError(AWAY)

    async def run_many(self, calls: Sequence[Call]) -> list[Any]:
        """As ScriptRunner.run_many; only Redis answers these."""
        if self.belief.stale:
            await self.belief.refresh()
        if self.belief.path is not Path.redis:
            raise NotReadyError(AWAY)
        epochs = self.belief.epochs
        return await super().run_many(
            [(name, keys, [epochs.get(keys[0], ""), *args[1:]]) for name, keys, args in calls]
        )
