"""`scaiqueue worker`: the agents."""

from __future__ import annotations

import asyncio

from scaiqueue.cli.api import served_settings
from scaiqueue.settings import load_settings
from scaiqueue_agents.worker import serve


def worker() -> None:
    """Run the agents until SIGTERM or Ctrl-C. Any number of workers have the effect of one."""
    settings = served_settings(load_settings())
    asyncio.run(serve(settings))
