"""`scaiqueue migrate`: the tables of the row store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Annotated, TypeVar

from cyclopts import App, Parameter
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from scaiqueue.cli.output import CommandError, Json, print_json
from scaiqueue.embedded.data_folder import with_embedded
from scaiqueue.rows import migrate
from scaiqueue.rows.engine import open_engine
from scaiqueue.rows.migrate import MigrationLockError, MigrationStatus
from scaiqueue.settings import load_settings

T = TypeVar("T")

app = App(name="migrate", help="The tables of the row store.")


@app.command
def up() -> None:
    """Bring the tables up to date; does nothing where they are."""
    url = _url()
    asyncio.run(bring_up_to_date(url))
    _print_status(asyncio.run(_status(url)))


@app.command
def down(revision: str = "-1", *, yes: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Take migrations back.

    Parameters
    ----------
    revision
        Down to which one: -1 takes one back, base all of them.
    yes
        Needed: what the dropped tables hold is gone.
    """
    if not yes:
        raise CommandError("this drops tables and what they hold: make a backup and add --yes")
    url = _url()
    asyncio.run(_reported(url, migrate.downgrade(url, revision)))
    _print_status(asyncio.run(_status(url)))


@app.command
def status(*, json: Json = False) -> int:
    """Where the tables are and what is missing; exit status 1 if anything is."""
    found = asyncio.run(_status(_url()))
    if json:
        print_json({**found._asdict(), "up_to_date": found.up_to_date})
    else:
        _print_status(found)
    return 0 if found.up_to_date else 1


async def bring_up_to_date(url: str) -> None:
    """Run all missing migrations. Raises CommandError when the server can't be reached."""
    open_engine(url)  # refuses a URL that makes no sense before anything is made
    database = make_url(url).database
    if url.startswith("sqlite") and database:
        Path(database).parent.mkdir(parents=True, exist_ok=True)
    await _reported(url, migrate.upgrade(url))


async def _status(url: str) -> MigrationStatus:
    return await _reported(url, migrate.status(url))


async def _reported(url: str, work: Awaitable[T]) -> T:
    try:
        return await work
    except (SQLAlchemyError, MigrationLockError, OSError) as error:
        cause = getattr(error, "orig", None) or error
        shown = make_url(url).render_as_string(hide_password=True)
        raise CommandError(
            f"{shown}: {cause}: is the server up, and are database, user and password of "
            "SCAIQUEUE_DATABASE_URL right?"
        ) from error


def _url() -> str:
    return with_embedded(load_settings()).database_url


def _print_status(found: MigrationStatus) -> None:
    print(f"at {found.current or 'nothing'}, newest is {found.head}")
    for revision in found.pending:
        print(f"missing: {revision}")
