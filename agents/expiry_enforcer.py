"""Finishes what a mass of expiries left over.

Expiries stand in the same due index as leases, so the sweep of every second ends them as well; what
exceeds its short bound is worked off here.
"""

from __future__ import annotations

from .agent import AgentContext, Budget, Result
from .sweeping import sweep_due

STEP = 500


async def enforce_expiry(context: AgentContext, budget: Budget) -> Result:
    """Sweep all shards. Returns counts: swept, lease_lost, promoted, expired, dead_lettered."""
    return await sweep_due(context, budget, step=STEP)
