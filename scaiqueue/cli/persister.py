"""`scaiqueue persister`: a process that carries the journal into the rows and serves no calls."""

from __future__ import annotations

import asyncio
import signal

import msgspec
import structlog
import uvloop
from prometheus_client import start_http_server

from scaiqueue.api.logs import configure_logs
from scaiqueue.cli.api import served_settings
from scaiqueue.services import Services
from scaiqueue.settings import Settings, load_settings

log = structlog.get_logger("scaiqueue.persister")


def persister() -> None:
    """Write rows until SIGTERM or Ctrl-C, for API processes that run with SCAIQUEUE_PERSIST=false.

    Any number of persisters share the shards, with the API processes that persist, too.
    """
    settings = served_settings(load_settings())
    uvloop.run(_serve(msgspec.structs.replace(settings, persist=True)))


async def _serve(settings: Settings) -> None:
    configure_logs(settings)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    if settings.worker_metrics_port:
        start_http_server(settings.worker_metrics_port, settings.host)
    services = Services(settings)
    await services.start()
    try:
        log.info("persister_started")
        await stopping.wait()
    finally:
        await services.stop()
