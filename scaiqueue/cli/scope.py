"""`scaiqueue scope`: scopes of a running ScaiQueue."""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

from cyclopts import App

from scaiqueue.cli.client import Client
from scaiqueue.cli.output import Json, print_json, print_table
from scaiqueue.cli.status import MOST

app = App(name="scope", help="Scopes of a running ScaiQueue.")

_COLUMNS = ("slug", "state", "display_name", "created_at", "id")


@app.command
def ls(*, json: Json = False) -> None:
    """The key's scopes."""
    found = Client().pages("/scopes", MOST)
    if json:
        print_json(found)
    else:
        print_table(_COLUMNS, [[one.get(name) for name in _COLUMNS] for one in found])


@app.command
def create(scope: str, *, display_name: str | None = None, json: Json = False) -> None:
    """Make a scope."""
    made = Client().post("/scopes", {"slug": scope, "display_name": display_name or scope})["data"]
    if json:
        print_json(made)
    else:
        print(f"{scope} made, id {made['id']}")


@app.command
def set_state(
    scope: str, change: Literal["pause", "resume", "archive", "unarchive"], *, json: Json = False
) -> None:
    """Pause, resume, archive or unarchive a scope with all its queues."""
    answer = Client().post(f"/scopes/{quote(scope)}/{change}")["data"]
    if json:
        print_json(answer)
    else:
        print(f"{scope}: {change} done")
