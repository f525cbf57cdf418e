"""`scaiqueue status`: depths, lag and mode."""

from __future__ import annotations

from typing import Any

from scaiqueue.cli.client import Client
from scaiqueue.cli.output import Json, print_json, print_table

MOST = 10_000
DEPTHS = ("depth_pending", "depth_scheduled", "depth_claimed", "oldest_age_s")


def status(*, json: Json = False) -> int:
    """What a running ScaiQueue says of itself; exit status 1 if it is not ready."""
    client = Client()
    readiness = client.readiness()
    ready = bool(readiness.get("ready"))
    queues = all_queues(client) if ready else []
    if json:
        print_json({"readiness": readiness, "queues": queues})
        return 0 if ready else 1
    print_table(["", client.url], sorted(readiness.items()))
    if queues:
        print()
        print_table(
            ["scope", "queue", "state", *DEPTHS],
            [
                (one["scope"], one["slug"], one["state"], *(one.get(name) for name in DEPTHS))
                for one in queues
            ],
        )
    return 0 if ready else 1


def all_queues(client: Client) -> list[dict[str, Any]]:
    """Every queue of the key's tenant that is not a system queue, with its scope's slug as `scope`.

    Of the system queues only a dead letter that holds something.
    """
    found = []
    for scope in client.pages("/scopes", MOST):
        for queue in client.pages(f"/scopes/{scope['id']}/queues", MOST):
            if not queue["slug"].startswith("_") or queue.get("depth_pending"):
                found.append({"scope": scope["slug"], **queue})
    return found
