"""What can strike a site: one function a kind. It strikes, lasts as long as it should, and heals."""

from __future__ import annotations

from tests.chaos.faults import clients, network, processes, redis, rows
from tests.chaos.faults.kinds import FAULTS, Fault, Scene

__all__ = ["FAULTS", "Fault", "Scene", "clients", "network", "processes", "redis", "rows"]
