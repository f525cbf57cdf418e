"""The register of faults, and what a fault has to work with."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from tests.chaos.client import HttpClient
from tests.chaos.load import Load
from tests.chaos.site import Site


@dataclass
class Scene:
    """`begun` and `loses` are set anew by a fault that prepares its strike, or that knows only then how
    much Redis may lose."""

    site: Site
    load: Load
    http: HttpClient
    dice: Random
    pace: float = 1.0
    begun: float = field(default_factory=time.monotonic)
    loses: float | None = None

    def strikes_now(self, *, lost_since: float | None = None) -> None:
        """`lost_since`: Redis forgets what it did from then on."""
        self.begun = time.monotonic()
        if lost_since is not None:
            self.loses = self.begun - lost_since + SLACK_S


# Between a call's effect and its answer.
SLACK_S = 0.3

Act = Callable[[Scene], Awaitable[None]]


class Fault(NamedTuple):
    """`loses`: seconds before the strike whose effects Redis may come back without; None: nothing."""

    name: str
    act: Act
    loses: float | None

    @property
    def what(self) -> str:
        return (self.act.__doc__ or "").strip().splitlines()[0]


FAULTS: dict[str, Fault] = {}


def fault(*, loses: float | None = None) -> Callable[[Act], Act]:
    """Registers the function under its name, with dashes."""

    def register(act: Act) -> Act:
        name = act.__name__.replace("_", "-")
        FAULTS[name] = Fault(name, act, loses)
        return act

    return register
