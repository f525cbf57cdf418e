"""Writes that must succeed at Redis' memory limit too: without them nothing would be freed any more."""

from __future__ import annotations

from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.lock import Lock
from redis.typing import EncodableT

_ANY_COMMAND = "#!lua flags=allow-oom\nreturn redis.call(unpack(ARGV))"


def write(client: Redis | Pipeline, command: str, key: str, *args: EncodableT) -> Any:
    """Run a command on one key; to be awaited unless `client` is a pipeline."""
    return client.eval(_ANY_COMMAND, 1, key, command, key, *args)


class UpkeepLock(Lock):
    """redis-py's lock, which can be had at the memory limit."""

    async def do_acquire(self, token: str | bytes) -> bool:
        limit = ("PX", int(self.timeout * 1000)) if self.timeout else ()
        return bool(await write(cast(Redis, self.redis), "SET", str(self.name), token, "NX", *limit))
