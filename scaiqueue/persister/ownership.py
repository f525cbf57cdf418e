"""Which process persists which shards: a lease per shard, shared out evenly among the living processes.

The leases only avoid double work. What keeps two owners from harm is the position's compare-and-set.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import uuid4

from redis.asyncio import Redis

from scaiqueue import upkeep
from scaiqueue.keys import PERSISTERS_KEY, Shard

LEASE_MS = 3000
RENEW_SECONDS = 1.0


class Leases:
    """The leases of one process."""

    def __init__(self, redis: Redis, shards: Sequence[int]) -> None:
        self.redis = redis
        self.shards = shards
        self.token = uuid4().hex.encode()
        self.owned: set[int] = set()
        self.epochs: dict[int, int | None] = {}

    async def renew(self) -> None:
        """Renew what is held, take what is free, give away what is more than this process's share.

        Afterwards `owned` is what is held, and `epochs` the epoch keys of all shards.
        """
        now = time.time()
        async with self.redis.pipeline(transaction=False) as pipe:
            upkeep.write(pipe, "ZADD", PERSISTERS_KEY, now + LEASE_MS / 1000, self.token)
            pipe.zremrangebyscore(PERSISTERS_KEY, "-inf", now)
            pipe.zcard(PERSISTERS_KEY)
            for number in self.shards:
                pipe.get(Shard(number).owner)
                pipe.get(Shard(number).epoch)
            _, _, processes, *rest = await pipe.execute()
        holders = dict(zip(self.shards, rest[::2], strict=True))
        self.epochs = {
            number: int(epoch) if epoch is not None else None
            for number, epoch in zip(self.shards, rest[1::2], strict=True)
        }
        mine = [number for number, holder in holders.items() if holder == self.token]
        share = -(-len(self.shards) // max(processes, 1))
        keep, surplus = mine[:share], mine[share:]
        free = [number for number, holder in holders.items() if holder is None][: share - len(keep)]
        async with self.redis.pipeline(transaction=False) as pipe:
            for number in keep:
                pipe.pexpire(Shard(number).owner, LEASE_MS)
            for number in free:
                upkeep.write(pipe, "SET", Shard(number).owner, self.token, "NX", "PX", LEASE_MS)
            answers = await pipe.execute() if keep or free else []
        taken = [number for number, done in zip(keep + free, answers, strict=True) if done]
        self.owned = {*taken, *surplus}
        self.surplus = surplus

    async def release(self, numbers: Sequence[int]) -> None:
        """Give leases back, for another process to take at once."""
        if not numbers:
            return
        async with self.redis.pipeline(transaction=False) as pipe:
            for number in numbers:
                pipe.get(Shard(number).owner)
            holders = await pipe.execute()
        mine = [n for n, holder in zip(numbers, holders, strict=True) if holder == self.token]
        if mine:
            async with self.redis.pipeline(transaction=False) as pipe:
                for number in mine:
                    pipe.delete(Shard(number).owner)
                await pipe.execute()
        self.owned.difference_update(numbers)

    async def leave(self) -> None:
        """Release everything and no longer count as a living process."""
        await self.release(sorted(self.owned))
        await self.redis.zrem(PERSISTERS_KEY, self.token)
