"""The sweep that two agents share: all shards in rounds, each step bounded by the script's limit."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog
from redis.exceptions import ResponseError

from scaiqueue.keys import Shard
from scaiqueue.scripts import binding
from scaiqueue.scripts.replies import NotReadyError

from .agent import AgentContext, Budget, Result

log = structlog.get_logger("scaiqueue.agents")

_COUNTS = ("swept", "lease_lost", "promoted", "expired", "dead_lettered")


@dataclass
class Sweep:
    """What a sweep did over all shards."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTS, 0))
    not_ready: int = 0
    failed: int = 0

    def add(self, numbers: list[int]) -> None:
        for name, number in zip(_COUNTS, numbers, strict=True):
            self.counts[name] += number


async def sweep_due(context: AgentContext, budget: Budget, *, step: int) -> Result:
    """Settle everything that is due, `step` messages a script call, until nothing is or the budget is spent.

    Rounds over the shards, so that one busy shard does not hold up the others. A shard that is not
    ready, or whose script fails, is left out of the rest of this run.
    """
    sweep = Sweep()
    left = context.shards
    while left and not budget.spent:
        left = [shard for shard in left if budget.spent or await _step(context, shard, step, sweep)]
    result: Result = dict(sweep.counts)
    if sweep.not_ready:
        result["shards_not_ready"] = sweep.not_ready
    if left:
        result["more"] = True
    if sweep.failed:
        raise RuntimeError(f"sweep failed on {sweep.failed} shards; done on the others: {sweep.counts}")
    return result


async def _step(context: AgentContext, shard: Shard, step: int, sweep: Sweep) -> bool:
    """One script call; True when the shard may have more that is due."""
    try:
        reply = await binding.sweep(context.runner, shard, step)
    except NotReadyError:
        sweep.not_ready += 1
        return False
    except ResponseError as error:
        log.error("sweep_failed", shard=shard.number, error=str(error))
        sweep.failed += 1
        return False
    word, *details = reply.items[0]
    if word == "EMPTY":
        return False
    sweep.add([int(number) for number in details[1:]])
    return True
