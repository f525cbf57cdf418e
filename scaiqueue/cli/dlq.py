"""`scaiqueue dlq`: the dead letter of a scope."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from cyclopts import App, Parameter

from scaiqueue.cli.client import Client
from scaiqueue.cli.output import Json, print_json, print_table

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
    json: Json = False,
) -> None:
    """Send messages of the dead letter back to where they came from.

    Parameters
    ----------
    target
        To this queue instead.
    type
        Only messages of this type.
    dry_run
        Only say what would move.
    """
    body: dict[str, object] = {"dry_run": dry_run}
    if target:
        body["target"] = target
    if type:
        body["filter"] = {"type": type}
    answer = Client().post(f"/scopes/{quote(scope)}/dead-letter/redrive", body)["data"]
    if json:
        print_json(answer)
    else:
        print_table(["", "value"], answer.items())
