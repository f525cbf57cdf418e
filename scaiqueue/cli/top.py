"""`scaiqueue top`: the busiest queues, live."""

from __future__ import annotations

import time
from typing import Annotated, Any
from urllib.parse import quote

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.live import Live
from rich.table import Table
from rich.text import Text

from scaiqueue.cli.client import Client
from scaiqueue.cli.output import CommandError, Json, open_console, print_json
from scaiqueue.cli.status import DEPTHS, all_queues

EVENTS = ("published", "completed", "failed")
_BARS = " ▁▂▃▄▅▆▇█"
_SHOWN_MINUTES = 20


def top(
    *,
    every: Annotated[float, Parameter(validator=Number(gte=0.5, lte=3600))] = 2.0,
    limit: Annotated[int, Parameter(validator=Number(gte=1, lte=500))] = 20,
    once: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
) -> None:
    """Depths, ages and rates of the busiest queues until Ctrl-C.

    Parameters
    ----------
    every
        Seconds between two looks.
    limit
        How many queues; those with the most pending and claimed messages.
    once
        Look once and end; so does --json.
    """
    client = Client()
    if json:
        print_json(_look(client, limit))
        return
    console = open_console()
    if once or not console.is_terminal:
        console.print(_table(_look(client, limit)))
        return
    with Live(_table(_look(client, limit)), console=console, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(every)
            try:
                live.update(_table(_look(client, limit)), refresh=True)
            except CommandError as error:
                # The server may be on its way back: what was seen last would pass for how it is.
                live.update(Text(str(error)), refresh=True)


def _look(client: Client, limit: int) -> list[dict[str, Any]]:
    """Queues with `per_minute` of the last hour, the fullest first."""
    queues = all_queues(client)
    queues.sort(key=lambda one: (-(one["depth_pending"] + one["depth_claimed"]), one["scope"], one["slug"]))
    for one in queues[:limit]:
        path = f"/scopes/{quote(one['scope'])}/queues/{quote(one['slug'])}/stats"
        one["per_minute"] = client.get(path)["data"]["per_minute"]
    return queues[:limit]


def _table(queues: list[dict[str, Any]]) -> Table:
    """The minute before this one, since this one is still running; the bars are completed ones."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("scope", "queue", "state"):
        table.add_column(column, overflow="fold")
    for column in ("pending", "scheduled", "claimed", "oldest s", *(f"{event}/min" for event in EVENTS)):
        table.add_column(column, justify="right")
    table.add_column(f"completed, {_SHOWN_MINUTES} min")
    for one in queues:
        counts = {event: one["per_minute"].get(event, [0] * 60) for event in EVENTS}
        age = one.get("oldest_age_s")
        table.add_row(
            one["scope"],
            one["slug"],
            one["state"],
            *(f"{one[name]:,}" for name in DEPTHS[:3]),
            "-" if age is None else f"{age:,.0f}",
            *(f"{counts[event][-2]:,}" for event in EVENTS),
            _bars(counts["completed"][-_SHOWN_MINUTES - 1 : -1]),
        )
    return table


def _bars(counts: list[int]) -> str:
    most = max(counts, default=0) or 1
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // most)] for count in counts)
