"""`scaiqueue api`: the HTTP API under uvicorn."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Annotated

import uvicorn
from cyclopts import Parameter
from cyclopts.validators import Number

from scaiqueue.api.protocol import JoiningProtocol
from scaiqueue.cli.installation import other_shards
from scaiqueue.cli.output import CommandError
from scaiqueue.embedded.data_folder import DataFolder, to_environment, with_embedded
from scaiqueue.settings import Settings, SettingsError, load_settings

# All of a shutdown, the answers to waiting claims included, fits into the 10 s that orchestrators give.
GRACE_S = 6


def api(
    *,
    host: str | None = None,
    port: int | None = None,
    workers: Annotated[int, Parameter(validator=Number(gte=1, lte=64))] = 1,
) -> None:
    """Serve the HTTP API until SIGTERM or Ctrl-C.

    Parameters
    ----------
    host
        Address to listen on (SCAIQUEUE_HOST, 127.0.0.1).
    port
        Port to listen on (SCAIQUEUE_PORT, 8080).
    workers
        Processes that share the port.
    """
    settings = served_settings(load_settings(host=host, port=port))
    # Each worker process reads its settings from the environment.
    os.environ.update(to_environment(settings))
    # uvicorn raises the signal again when it has ended in order: that is a success.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        "scaiqueue.api.app:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=workers,
        loop="uvloop",
        http=JoiningProtocol,
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=GRACE_S,
    )


def served_settings(settings: Settings) -> Settings:
    """The settings with their servers named; the embedded ones only where `scaiqueue dev` runs them.

    Raises CommandError when there is no server to use, SettingsError when the rows were made for
    another number of shards.
    """
    if not settings.redis_url and not asyncio.run(DataFolder(settings.data_dir).valkey.answers()):
        raise CommandError(
            f"SCAIQUEUE_REDIS_URL is not set and no `scaiqueue dev` runs on {settings.data_dir}: "
            "set it, or start `scaiqueue dev`, which brings its own"
        )
    chosen = with_embedded(settings)
    if complaint := asyncio.run(other_shards(chosen)):
        raise SettingsError(complaint)
    return chosen
