"""Takes back expired leases within about a second of their end."""

from __future__ import annotations

from .agent import AgentContext, Budget, Result
from .sweeping import sweep_due

STEP = 200
"""Messages a script call: a call of this size keeps Redis from others for a few milliseconds."""


async def enforce_visibility_timeouts(context: AgentContext, budget: Budget) -> Result:
    """Sweep all shards. Returns counts: swept, lease_lost, promoted, expired, dead_lettered."""
    return await sweep_due(context, budget, step=STEP)
