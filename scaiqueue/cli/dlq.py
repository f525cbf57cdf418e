"""`scaiqueue dlq`: the dead letter of a scope."""

from __future__ import annotations

import time
from typing import Annotated, Any
from urllib.parse import quote

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from scaiqueue.cli.client import Client
from scaiqueue.cli.output import Json, print_json, print_table

LOOK_EVERY_S = 0.5

app = App(name="dlq", help="The dead letter of a running ScaiQueue.")


@app.command
def ls(scope: str, *, limit: int = 50, json: Json = False) -> None:
    """What lies in the dead letter, with where it came from.

    Parameters
    ----------
    limit
        At most so many.
    """
    found = Client().pages(f"/scopes/{quote(scope)}/messages", limit, queue="_dead_letter")
    if json:
        print_json(found)
        return
    rows = []
    for one in found:
        origin = one.get("origin") or {}
        names = ("queue", "reason", "attempts", "at")
        rows.append([one["id"], one.get("message_type"), *(origin.get(name) for name in names)])
    print_table(["id", "type", "from", "reason", "attempts", "at"], rows)


@app.command
def redrive(
    scope: str,
    *,
    target: str | None = None,
    type: str | None = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    wait: bool = True,
    json: Json = False,
) -> None:
    """Send messages of the dead letter back to where they came from, and wait until all of them are.

    Parameters
    ----------
    target
        To this queue instead.
    type
        Only messages of this type.
    dry_run
        Only say what would move.
    wait
        With --no-wait end at once and print the job.
    """
    body: dict[str, object] = {"dry_run": dry_run}
    if target:
        body["target"] = target
    if type:
        body["filter"] = {"type": type}
    client = Client()
    job = client.post(f"/scopes/{quote(scope)}/dead-letter/redrive", body)["data"]
    if wait:
        job = followed(client, scope, job)
    if json:
        print_json(job)
    else:
        print_table(["", "value"], job.items())


def followed(client: Client, scope: str, job: dict[str, Any]) -> dict[str, Any]:
    """The job when it has ended; until then a bar on the terminal says how much of the dead letter it has
    been through, as far as that matches."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        there = client.get(f"/scopes/{quote(scope)}/queues/_dead_letter")["data"]["depth_pending"]
        bar = progress.add_task("redrive", total=there + job["progress"]["redriven"])
        while job["state"] == "running":
            progress.update(bar, completed=job["progress"]["matched"])
            time.sleep(LOOK_EVERY_S)
            job = client.get(f"/scopes/{quote(scope)}/jobs/{job['id']}")["data"]
    return job
