"""`scaiqueue scripts`: the Lua scripts, for direct callers."""

from __future__ import annotations

import asyncio
import sys

from cyclopts import App
from redis.asyncio import Redis
from redis.exceptions import RedisError

from scaiqueue.cli.api import served_settings
from scaiqueue.cli.output import CommandError, Json, print_json, print_table
from scaiqueue.scripts.bundle import load_bundle
from scaiqueue.scripts.runner import ScriptRunner
from scaiqueue.settings import load_settings

app = App(name="scripts", help="The Lua scripts, for direct callers.")


@app.command(name="list")
def list_(*, json: Json = False) -> None:
    """Name, SHA-1 and what each script is for."""
    scripts = load_bundle().values()
    if json:
        print_json([{"name": one.name, "sha1": one.sha1, "summary": one.contract.summary} for one in scripts])
    else:
        print_table(
            ["script", "sha1", "for"], [(one.name, one.sha1, one.contract.summary) for one in scripts]
        )


@app.command
def show(name: str) -> None:
    """The source of one script as Redis gets it, includes expanded.

    Parameters
    ----------
    name
        As `scaiqueue scripts list` gives it.
    """
    script = load_bundle().get(name)
    if script is None:
        raise CommandError(f"no script {name!r}: `scaiqueue scripts list` gives the names")
    sys.stdout.write(script.source)


@app.command
def load() -> None:
    """Load all scripts into the server of SCAIQUEUE_REDIS_URL and publish their SHA-1s there."""
    settings = served_settings(load_settings())

    async def run() -> None:
        async with Redis.from_url(settings.redis_url) as redis:
            await ScriptRunner(redis).load()

    try:
        asyncio.run(run())
    except RedisError as error:
        raise CommandError(f"{settings.redis_url}: {error}: is the server up?") from None
    print(f"{len(load_bundle())} scripts loaded")
