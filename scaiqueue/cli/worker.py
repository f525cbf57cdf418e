"""`scaiqueue worker`: the agents."""

from __future__ import annotations

import asyncio

from scaiqueue.api.logs import configure_logs
from scaiqueue.cli.api import served_settings
from scaiqueue.settings import load_settings
from scaiqueue_agents.worker import serve


def worker() -> None:
    """Run the agents until SIGTERM or Ctrl-C. Any number of workers have the effect of one."""
    settings = served_settings(load_settings())
    configure_logs(settings)
    asyncio.run(serve(settings))
