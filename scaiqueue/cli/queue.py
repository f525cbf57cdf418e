"""`scaiqueue queue`: queues of a running ScaiQueue."""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

from cyclopts import App

from scaiqueue.cli.client import Client
from scaiqueue.cli.output import Json, print_json, print_table
from scaiqueue.cli.status import DEPTHS, MOST, all_queues

app = App(name="queue", help="Queues of a running ScaiQueue.")


@app.command
def ls(scope: str | None = None, *, json: Json = False) -> None:
    """Queues with their depths.

    Parameters
    ----------
    scope
        Only this scope's, system queues included.
    """
    client = Client()
    if scope is None:
        queues = all_queues(client)
    else:
        queues = [{"scope": scope, **one} for one in client.pages(f"/scopes/{quote(scope)}/queues", MOST)]
    if json:
        print_json(queues)
        return
    columns = ["scope", "slug", "state", "ordering", *DEPTHS]
    print_table(columns, [[one.get(name) for name in columns] for one in queues])


@app.command
def show(scope: str, queue: str, *, json: Json = False) -> None:
    """One queue: settings, state, depths."""
    found = Client().get(f"/scopes/{quote(scope)}/queues/{quote(queue)}")["data"]
    if json:
        print_json(found)
    else:
        print_table(["setting", "value"], found.items())


@app.command
def create(
    scope: str,
    queue: str,
    *,
    ordering: Literal["fifo", "priority", "deadline"] = "fifo",
    json: Json = False,
) -> None:
    """Make a queue, and its scope if that is new."""
    client = Client()
    if scope not in {one["slug"] for one in client.pages("/scopes", MOST)}:
        client.post("/scopes", {"slug": scope, "display_name": scope})
    body = {"slug": queue, "display_name": queue, "ordering": ordering}
    made = client.post(f"/scopes/{quote(scope)}/queues", body)["data"]
    if json:
        print_json(made)
    else:
        print(f"{scope}/{queue} made, id {made['id']}")


@app.command
def set_state(
    scope: str,
    queue: str,
    change: Literal["pause", "resume", "drain", "archive", "unarchive", "purge"],
    *,
    json: Json = False,
) -> None:
    """Pause, resume, drain, archive, unarchive or purge a queue."""
    answer = Client().post(f"/scopes/{quote(scope)}/queues/{quote(queue)}/{change}")["data"]
    if json:
        print_json(answer)
    else:
        print(f"{scope}/{queue}: {change} done")
