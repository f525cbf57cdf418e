"""The verbs of the rows against the model that the scripts obey, step by step."""

from __future__ import annotations

import asyncio
import os

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from scaiqueue.rows.engine import open_engine
from scaiqueue.rows.migrate import upgrade
from tests.fallback.ground import Ground
from tests.fallback.machine import RowsMachine
from tests.scripts.machine_base import SHARD

CALM = {"deadline": None, "suppress_health_check": list(HealthCheck)}
PROFILES = {
    "": settings(max_examples=15, stateful_step_count=30, derandomize=True, **CALM),
    "long": settings(max_examples=1000, stateful_step_count=60, **CALM),
}


def test_every_step_leaves_what_the_model_says(database_url: str) -> None:
    with asyncio.Runner() as runner:
        runner.run(upgrade(database_url))
        engine = open_engine(database_url)

        class OnRows(RowsMachine):
            ground = Ground(engine, SHARD.number)
            loop = runner

        run_state_machine_as_test(OnRows, settings=PROFILES[os.environ.get("SCAIQUEUE_HYPOTHESIS", "")])
        runner.run(engine.dispose())
