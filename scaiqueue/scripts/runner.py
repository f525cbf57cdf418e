"""Runs scripts by SHA-1, and heals NOSCRIPT where the server is still the one we know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from scaiqueue import upkeep
from scaiqueue.keys import SCRIPTS_KEY
from scaiqueue.scripts.bundle import load_bundle
from scaiqueue.scripts.replies import NotReadyError

Arg = str | int | float | bytes
Call = tuple[str, Sequence[str], Sequence[Arg]]
# Asked before a missing script is loaded again: true where the server did not restart meanwhile.
Permission = Callable[[], Awaitable[bool]]
# A command's words, to its reply.
Execute = Callable[..., Awaitable[Any]]

# A call is healed again where another flush came between loading and calling.
MOST_HEALS = 5


async def _always() -> bool:
    return True


class ScriptRunner:
    """Calls scripts on one client, of a server or a cluster. `may_reload` decides about healing NOSCRIPT.

    `execute` carries single calls instead of the client.
    """

    def __init__(
        self, redis: Redis, may_reload: Permission = _always, execute: Execute | None = None
    ) -> None:
        self.redis = redis
        self._execute = execute or redis.execute_command
        self.may_reload = may_reload
        self._sha1 = {name: script.sha1 for name, script in load_bundle().items()}

    async def load(self) -> None:
        """Load every script and publish name → SHA-1 for direct callers."""
        # Not in a pipeline: a cluster client sends each to every primary.
        for script in load_bundle().values():
            await self.redis.script_load(script.source)
        pairs = [part for name, sha1 in self._sha1.items() for part in (name, sha1)]
        await upkeep.write(self.redis, "HSET", SCRIPTS_KEY, *pairs)

    async def run(self, name: str, keys: Sequence[str], args: Sequence[Arg]) -> list[Any]:
        """One call. Raises NotReadyError, and redis.exceptions.ResponseError for a malformed call."""
        for _ in range(MOST_HEALS):
            try:
                return await self._evalsha(name, keys, args)
            except NoScriptError:
                await self._heal()
        return await self._evalsha(name, keys, args)

    async def run_many(self, calls: Sequence[Call]) -> list[Any]:
        """Calls in one pipeline, in order; a call's error stands in its place in the answer."""
        answers = await self._pipeline(calls)
        for _ in range(MOST_HEALS):
            missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if not missing:
                break
            await self._heal()
            for i, answer in zip(missing, await self._pipeline([calls[i] for i in missing]), strict=True):
                answers[i] = answer
        return answers

    def command(self, call: Call) -> tuple[Arg, ...]:
        """The call as one command, for a pipeline of the caller's own; NOSCRIPT is the caller's to heal."""
        name, keys, args = call
        return ("EVALSHA", self._sha1[name], len(keys), *keys, *args)

    async def _evalsha(self, name: str, keys: Sequence[str], args: Sequence[Arg]) -> list[Any]:
        return cast(list[Any], await self._execute("EVALSHA", self._sha1[name], len(keys), *keys, *args))

    async def _pipeline(self, calls: Sequence[Call]) -> list[Any]:
        async with self.redis.pipeline(transaction=False) as pipe:
            for call in calls:
                # pipe.evalsha is barred on a cluster, the plain command is routed by its keys.
                pipe.execute_command(*self.command(call))
            return list(await pipe.execute(raise_on_error=False))

    async def _heal(self) -> None:
        if not await self.may_reload():
            raise NotReadyError("the server restarted: waiting for recovery")
        await self.load()
