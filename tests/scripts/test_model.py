"""The real scripts against the model, step by step, on Redis and on Valkey.

SCAIQUEUE_HYPOTHESIS=long takes many more steps, from another seed each time.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from redis import Redis

from tests.scripts.machine_operators import Operators

CALM = {"deadline": None, "suppress_health_check": list(HealthCheck)}
PROFILES = {
    "": settings(max_examples=60, stateful_step_count=40, derandomize=True, **CALM),
    "long": settings(max_examples=3000, stateful_step_count=80, **CALM),
}


def test_every_step_leaves_what_the_model_says(client: Redis) -> None:
    shared = client

    class OnServer(Operators):
        client = shared

    run_state_machine_as_test(OnServer, settings=PROFILES[os.environ.get("SCAIQUEUE_HYPOTHESIS", "")])
