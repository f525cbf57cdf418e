"""Real webhooks through the whole queue, with one consumer killed in the middle, and everything checked.

Run: python -m loadtest.demo --help
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle, islice
from typing import Annotated, Any
from uuid import uuid4

import aiohttp
import cyclopts
import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from loadtest.crew import ConsumerError, Course, Crew
from loadtest.events import EventMessage, event_message
from loadtest.stack import Stack, StackError, private_stack
from loadtest.verdict import Check, judge, settled_rows
from loadtest.webhooks import Webhook, load_webhooks

BASE = "/v1/modules/scaiqueue"
PUBLISH_BATCH = 50
CLAIM_BATCH = 5

Count = Annotated[int, Parameter(validator=Number(gte=20, lte=100_000))]


class DemoError(RuntimeError):
    """The demo could not be carried through."""


def demo(
    *,
    messages: Count | None = None,
    consumers: Annotated[int, Parameter(validator=Number(gte=2, lte=32))] = 4,
    lease_s: Annotated[int, Parameter(validator=Number(gte=1, lte=60))] = 3,
    redis_url: str = "",
    database_url: str = "",
    url: str = "",
    api_key: Annotated[str, Parameter(env_var="SCAIQUEUE_API_KEY")] = "",
) -> int:
    """Publish webhooks, consume them with several processes, kill one of them, and check every row.

    Parameters
    ----------
    messages
        How many; all payloads once if not given.
    consumers
        Processes that consume at the same time.
    lease_s
        Length of the leases: so long the killed consumer's messages stay away.
    redis_url, database_url
        Servers to use instead of embedded ones.
    url
        A running ScaiQueue to use instead of a private one; then --database-url says where its rows are.
    api_key
        Its key.
    """
    console = Console()
    if url and not (database_url and api_key):
        console.print("--url needs --database-url, to check the rows, and --api-key", style="red")
        return 2
    hooks = load_webhooks()
    if messages is not None:
        hooks = list(islice(cycle(hooks), messages))
    running = (
        _given(Stack(url.rstrip("/"), api_key, database_url))
        if url
        else private_stack(redis_url=redis_url, database_url=database_url)
    )
    try:
        return asyncio.run(_demo(console, running, hooks, consumers, lease_s))
    except (StackError, ConsumerError, DemoError, aiohttp.ClientError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130


@asynccontextmanager
async def _given(stack: Stack) -> AsyncIterator[Stack]:
    yield stack


async def _demo(console: Console, running: Any, hooks: list[Webhook], consumers: int, lease_s: int) -> int:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    ) as progress:
        starting = progress.add_task("start", total=1, note="")
        async with running as stack:
            progress.update(starting, completed=1, note=stack.url)
            publishing = progress.add_task("publish", total=len(hooks), note="")
            consuming = progress.add_task("consume", total=len(hooks), note="", start=False)
            headers = {"Authorization": f"Bearer {stack.key}", "Content-Type": "application/json"}
            async with aiohttp.ClientSession(stack.url, headers=headers) as session:
                scope_id, queue_id = await _make_queue(session, lease_s)
                sent: dict[str, Webhook] = {}
                began = time.monotonic()
                for first in range(0, len(hooks), PUBLISH_BATCH):
                    sent |= await _publish(session, scope_id, queue_id, hooks, first)
                    progress.update(publishing, completed=len(sent))
                published_s = time.monotonic() - began
            progress.start_task(consuming)
            scope_url = f"{stack.url}{BASE}/scopes/{scope_id}"
            crew = Crew(
                f"{scope_url}/queues/{queue_id}",
                scope_url,
                stack.key,
                size=consumers,
                batch=CLAIM_BATCH,
                lease_s=lease_s,
                kill_at=len(hooks) // 2,
            )
            began = time.monotonic()
            await crew.drain(
                len(hooks),
                lambda course: progress.update(
                    consuming, completed=len(course.completed), note=_note(course)
                ),
            )
            consumed_s = time.monotonic() - began
            rows = await settled_rows(stack.database_url, scope_id, len(hooks))
            checks = judge(sent, rows, crew.course)
    _summarise(console, hooks, crew.course, checks, published_s, consumed_s)
    return 0 if all(check.good for check in checks) else 1


async def _make_queue(session: aiohttp.ClientSession, lease_s: int) -> tuple[str, str]:
    scope = {"slug": f"demo-{uuid4().hex[:12]}", "display_name": "Demo"}
    scope_id = (await _post(session, "/scopes", scope))["id"]
    queue = {
        "slug": "webhooks",
        "display_name": "Webhooks",
        "ordering": "priority",
        "visibility_timeout_s": lease_s,
    }
    return scope_id, (await _post(session, f"/scopes/{scope_id}/queues", queue))["id"]


async def _publish(
    session: aiohttp.ClientSession, scope_id: str, queue_id: str, hooks: list[Webhook], first: int
) -> dict[str, Webhook]:
    """One batch, from hook number `first` on; answers the hooks by their messages' ids."""
    batch: list[EventMessage] = [
        event_message(number, hooks[number])
        for number in range(first, min(first + PUBLISH_BATCH, len(hooks)))
    ]
    path = f"/scopes/{scope_id}/queues/{queue_id}/messages/batch"
    results = await _post(session, path, {"messages": batch})
    for result in results:
        if "id" not in result:
            raise DemoError(f"a message was refused: {result}")
    return {result["id"]: hooks[first + place] for place, result in enumerate(results)}


async def _post(session: aiohttp.ClientSession, path: str, content: Any) -> Any:
    async with session.post(BASE + path, data=msgspec.json.encode(content)) as answer:
        text = await answer.read()
        if answer.status >= 300:
            raise DemoError(f"{path}: {answer.status} {text.decode(errors='replace')}")
        return msgspec.json.decode(text)["data"]


def _note(course: Course) -> str:
    if not course.killed:
        return ""
    again = sum(one.attempts > 1 for one in course.deliveries)
    return f"{course.killed} killed with {len(course.held)} messages; {again} delivered again"


def _summarise(
    console: Console,
    hooks: list[Webhook],
    course: Course,
    checks: list[Check],
    published_s: float,
    consumed_s: float,
) -> None:
    tiers = Counter(event_message(0, hook).priority["tier"] for hook in hooks)
    table = Table(title="ScaiQueue demo", title_justify="left", show_header=False)
    for no_wrap in (True, False, True):
        table.add_column(no_wrap=no_wrap)
    for name, value in (
        ("messages", f"{len(hooks)} of {len({hook.event for hook in hooks})} kinds"),
        ("bytes of bodies", f"{sum(len(hook.body) for hook in hooks):,}"),
        ("by tier", ", ".join(f"{tier} {count}" for tier, count in tiers.most_common())),
        ("published in", f"{published_s:.2f} s"),
        ("consumed in", f"{consumed_s:.2f} s, the killed one's leases waited for"),
        ("deliveries", f"{len(course.deliveries)}"),
        ("killed", f"{course.killed} with {len(course.held)} messages in hand"),
    ):
        table.add_row(name, value, "")
    table.add_section()
    for check in checks:
        table.add_row(check.name, check.detail, "[green]ok" if check.good else "[red]FAILED")
    console.print(table)


if __name__ == "__main__":
    app = cyclopts.App(name="demo", version_flags=[])
    app.default(demo)
    sys.exit(app(result_action="return_value"))
