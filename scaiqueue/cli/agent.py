"""`scaiqueue agent`: the system agents."""

from __future__ import annotations

from urllib.parse import quote

from cyclopts import App

from scaiqueue.cli.client import Client
from scaiqueue.cli.output import Json, print_json, print_table

app = App(name="agent", help="System agents of a running ScaiQueue.")

_COLUMNS = ("name", "schedule", "last_run_at", "last_duration_ms", "runs", "errors", "next_run_at")


@app.command
def ls(*, json: Json = False) -> None:
    """Agents with their last runs."""
    found = Client().get("/system-agents")["data"]
    if json:
        print_json(found)
    else:
        print_table(_COLUMNS, [[one.get(name) for name in _COLUMNS] for one in found])


@app.command
def run(name: str, *, json: Json = False) -> None:
    """Run one agent now.

    Parameters
    ----------
    name
        As `scaiqueue agent ls` gives it.
    """
    answer = Client().post(f"/system-agents/{quote(name)}/run")["data"]
    if json:
        print_json(answer)
    else:
        print(f"{name}: a run is on its way")
