"""The command line: one module for each group of commands, imported when it is used."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version

from cyclopts import App

from scaiqueue.cli.output import CommandError
from scaiqueue.embedded.supervisor import REFUSED
from scaiqueue.settings import SettingsError

app = App(
    name="scaiqueue",
    help="A durable work queue. Settings come from SCAIQUEUE_* variables or scaiqueue.toml.",
    version=version("scaiqueue"),
)
for _name, _help in {
    "dev": "Everything on this machine: servers, API and worker; Ctrl-C ends it.",
    "api": "The HTTP API.",
    "osqueue": "osqueue's protocol, for its clients and workers.",
    "worker": "The agents.",
    "persister": "Writes rows beside API processes that run with SCAIQUEUE_PERSIST=false.",
    "run": "A worker for the jobs of a program.",
    "doctor": "Check servers and settings, with remedies.",
    "status": "Depths, lag and mode of a running queue.",
    "top": "The busiest queues, live.",
    "completion": "What a shell needs to complete words.",
}.items():
    app.command(f"scaiqueue.cli.{_name}:{_name}", name=_name, help=_help)
for _name, _help in {
    "migrate": "The tables of the row store.",
    "keys": "API keys.",
    "audit": "The audit: does its chain hold?",
    "scripts": "The Lua scripts, for direct callers.",
    "scope": "Scopes of a running ScaiQueue.",
    "queue": "Queues of a running ScaiQueue.",
    "msg": "Messages of a running ScaiQueue.",
    "dlq": "The dead letter of a running ScaiQueue.",
    "agent": "System agents of a running ScaiQueue.",
}.items():
    app.command(f"scaiqueue.cli.{_name}:app", name=_name, help=_help)


def main(words: Sequence[str] | None = None) -> None:
    """Run a command, the process's own unless `words` are given.

    Exit status: 0 done, 1 failed, 2 settings that make no sense, 130 interrupted.
    """
    try:
        app(words)
    except SettingsError as error:
        _end(error, REFUSED)
    except CommandError as error:
        _end(error, 1)
    except KeyboardInterrupt:
        sys.exit(130)


def _end(error: Exception, status: int) -> None:
    for line in str(error).splitlines():
        print(f"scaiqueue: {line}", file=sys.stderr)
    sys.exit(status)
