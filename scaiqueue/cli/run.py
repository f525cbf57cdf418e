"""`scaiqueue run`: a worker for the jobs of a program."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
from typing import Annotated

import uvloop
from cyclopts import Parameter
from cyclopts.validators import Number
from prometheus_client import start_http_server

from scaiqueue.cli.output import CommandError
from scaiqueue.client import App, ClientError, Worker
from scaiqueue.client.metrics import Metrics

_Count = Annotated[int, Parameter(validator=Number(gte=1, lte=10_000))]


def run(
    app: str,
    *,
    queue: list[str] | None = None,
    concurrency: _Count = 10,
    prefetch: Annotated[int | None, Parameter(validator=Number(gte=0, lte=100_000))] = None,
    grace_s: float = 20.0,
    cancel_s: float = 5.0,
    until_empty: Annotated[bool, Parameter(negative="")] = False,
    metrics_port: int = 0,
) -> None:
    """Handle the jobs of an app until SIGTERM or Ctrl-C; a second signal shortens. Exit status 1 means that
    handlers had to be cancelled.

    Parameters
    ----------
    app
        Where the App is, as module:name; the current folder is searched too.
    queue
        Only these queues; may be given several times.
    concurrency
        Handlers at a time.
    prefetch
        Messages that wait here for a handler; as many as there are handlers, if not given.
    grace_s
        How long handlers may go on after the first signal.
    cancel_s
        How long they may take to end when they are cancelled after that.
    until_empty
        End when the queues are empty.
    metrics_port
        Serve Prometheus metrics there, on 127.0.0.1; 0 does not.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    found = _found(app)
    hooks = []
    if metrics_port:
        start_http_server(metrics_port, "127.0.0.1")
        hooks.append(Metrics())

    async def work() -> bool:
        worker = Worker(
            found,
            queues=queue,
            concurrency=concurrency,
            prefetch=prefetch,
            grace_s=grace_s,
            cancel_s=cancel_s,
            hooks=hooks,
        )
        async with found:
            return await worker.run(until_empty=until_empty)

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            clean = runner.run(work())
    except (ValueError, ClientError) as error:
        raise CommandError(str(error)) from None
    if not clean:
        # A handler in a thread may go on for ever: nobody waits for it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def _found(place: str) -> App:
    """Raises CommandError."""
    module, _, name = place.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        app = getattr(importlib.import_module(module), name or "app")
    except (ImportError, AttributeError) as error:
        raise CommandError(f"{place}: {error}; give module:name, such as shop.jobs:app") from None
    if not isinstance(app, App):
        raise CommandError(f"{place} is a {type(app).__name__}, no App of scaiqueue.client")
    return app
