"""`scaiqueue scripts`: the Lua scripts, for direct callers."""

from __future__ import annotations

import asyncio
import sys

from cyclopts import App
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from scaiqueue.cli.api import served_settings
from scaiqueue.cli.output import CommandError, Json, print_json, print_table
from scaiqueue.connection import open_redis
from scaiqueue.recovery.service import Limits, Recovery
from scaiqueue.rows.engine import open_engine
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
def show(name: str, *, json: Json = False) -> None:
    """The source of one script as Redis gets it, includes expanded.

    Parameters
    ----------
    name
        As `scaiqueue scripts list` gives it.
    """
    script = load_bundle().get(name)
    if script is None:
        raise CommandError(f"no script {name!r}: `scaiqueue scripts list` gives the names")
    if json:
        print_json({"name": script.name, "sha1": script.sha1, "source": script.source})
    else:
        sys.stdout.write(script.source)


@app.command
def load(*, json: Json = False) -> None:
    """Load all scripts into the server of SCAIQUEUE_REDIS_URL and publish their SHA-1s there.

    A server that restarted is recovered from the rows first: until then no script may run on its index.
    """
    settings = served_settings(load_settings())

    async def run() -> None:
        engine = open_engine(settings.database_url, pool_size=1)
        try:
            async with open_redis(settings.redis_url) as redis:
                limits = Limits.of(settings)
                runner = ScriptRunner(redis)
                await Recovery(redis, runner, engine, shards=settings.shards, limits=limits).prepare()
        finally:
            await engine.dispose()

    try:
        asyncio.run(run())
    except RedisError as error:
        raise CommandError(f"{settings.redis_url}: {error}: is the server up?") from None
    except SQLAlchemyError as error:
        raise CommandError(f"the rows can't be read: {error}: `scaiqueue migrate up` makes them") from None
    if json:
        print_json({name: script.sha1 for name, script in load_bundle().items()})
    else:
        print(f"{len(load_bundle())} scripts loaded")
