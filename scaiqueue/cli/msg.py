"""`scaiqueue msg`: messages of a running ScaiQueue."""

from __future__ import annotations

import sys
from typing import Annotated
from urllib.parse import quote

import msgspec
from cyclopts import App, Parameter

from scaiqueue.cli.client import Client
from scaiqueue.cli.output import CommandError, Json, print_json, print_table

app = App(name="msg", help="Messages of a running ScaiQueue.")

_STEPS = ("at", "event", "queue", "attempts", "actor", "detail", "version")
_COLUMNS = ("id", "state", "message_type", "attempts", "priority_tier", "created_at", "failure_reason")


@app.command
def ls(
    scope: str,
    *,
    queue: str | None = None,
    state: str | None = None,
    type: str | None = None,
    correlation_id: str | None = None,
    limit: int = 50,
    json: Json = False,
) -> None:
    """Messages of a scope.

    Parameters
    ----------
    queue
        Only of this queue.
    state
        Only in this state, for instance pending.
    type
        Only of this type.
    correlation_id
        Only with this correlation id.
    limit
        At most so many.
    """
    found = Client().pages(
        f"/scopes/{quote(scope)}/messages",
        limit,
        queue=queue,
        state=state,
        type=type,
        correlation_id=correlation_id,
    )
    if json:
        print_json(found)
    else:
        print_table(_COLUMNS, [[one.get(name) for name in _COLUMNS] for one in found])


@app.command
def show(scope: str, message: str, *, history: bool = False, json: Json = False) -> None:
    """One message, or its history.

    Parameters
    ----------
    history
        Every transition instead, in order.
    """
    path = f"/scopes/{quote(scope)}/messages/{quote(message)}"
    found = Client().get(f"{path}/history" if history else path)["data"]
    if json:
        print_json(found)
    elif history:
        print_table(_STEPS, [[one.get(name) for name in _STEPS] for one in found["transitions"]])
    else:
        print_table(["field", "value"], found.items())


@app.command
def publish(
    scope: str,
    queue: str,
    body: str = "-",
    *,
    type: str,
    label: Annotated[dict[str, str] | None, Parameter(name="--label")] = None,
    tier: str | None = None,
    idempotency_key: str | None = None,
    json: Json = False,
) -> None:
    """Publish a message.

    Parameters
    ----------
    body
        JSON text; - reads it from standard input.
    type
        The message type.
    label
        --label.region eu; may be given several times.
    tier
        background, low, normal, high or critical.
    idempotency_key
        Publishing twice with the same key makes one message.
    """
    content = sys.stdin.read() if body == "-" else body
    try:
        msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        raise CommandError(f"the body is not JSON ({error}): quote text as '\"text\"'") from None
    message: dict[str, object] = {"type": type, "body": msgspec.Raw(content.encode())}
    given = {
        "labels": label,
        "priority": {"tier": tier} if tier else None,
        "idempotency_key": idempotency_key,
    }
    message |= {name: value for name, value in given.items() if value}
    made = Client().post(f"/scopes/{quote(scope)}/queues/{quote(queue)}/messages", message)["data"]
    if json:
        print_json(made)
    else:
        print(f"{made['id']} {made['state']}")


@app.command
def cancel(scope: str, message: str, *, json: Json = False) -> None:
    """Cancel a message; the holder of a claimed one hears of it at its next extend."""
    answer = Client().post(f"/scopes/{quote(scope)}/messages/{quote(message)}/cancel")["data"]
    if json:
        print_json(answer)
    else:
        print(f"{message}: cancelled, or its holder told")
