"""Several reads of one shard at one instant. Not a transaction: none can be begun at Redis' memory limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis

from scaiqueue.keys import Shard

Command = Sequence[str | int]

_READ = """#!lua flags=no-writes
local answers = {}
for i, command in ipairs(cmsgpack.unpack(ARGV[1])) do
  answers[i] = redis.call(unpack(command))
end
return answers"""


async def read_together(redis: Redis, shard: Shard, commands: Sequence[Command]) -> list[Any]:
    """The plain replies; each command takes at most 1,000 arguments or so, and what it asks for is small."""
    packed = msgspec.msgpack.encode(commands)
    answers: list[Any] = await redis.eval(_READ, 1, shard.epoch, packed)
    return answers
