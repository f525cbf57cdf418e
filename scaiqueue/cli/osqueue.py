"""`scaiqueue osqueue`: osqueue's protocol on a port of its own."""

from __future__ import annotations

import uvloop

from scaiqueue.cli.api import GRACE_S, served_settings
from scaiqueue.osqueue.server import serve
from scaiqueue.settings import SettingsError, load_settings


def osqueue(*, host: str | None = None, osqueue_port: int | None = None) -> None:
    """Serve osqueue's clients and workers until SIGTERM or Ctrl-C.

    Parameters
    ----------
    host
        Address to listen on (SCAIQUEUE_HOST, 127.0.0.1).
    osqueue_port
        Port to listen on (SCAIQUEUE_OSQUEUE_PORT).
    """
    settings = load_settings(host=host, osqueue_port=osqueue_port)
    if not settings.osqueue_port:
        raise SettingsError("SCAIQUEUE_OSQUEUE_PORT: name a port to listen on, or give --osqueue-port")
    uvloop.run(serve(served_settings(settings), GRACE_S))
