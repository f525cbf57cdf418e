"""`scaiqueue audit`: does the audit's chain hold?"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from cyclopts import App, Parameter
from sqlalchemy.exc import SQLAlchemyError

from scaiqueue.audit import verify as chain
from scaiqueue.audit.chain import Link
from scaiqueue.audit.verify import Verdict
from scaiqueue.cli.output import CommandError, Json, print_json, print_table
from scaiqueue.embedded.data_folder import with_embedded
from scaiqueue.rows.engine import open_engine
from scaiqueue.settings import load_settings

app = App(name="audit", help="The audit: does its chain hold?")


@app.command
def verify(
    *, checkpoint: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None, json: Json = False
) -> int:
    """Hold every row of the audit against the chain; exit status 1 if one does not hold.

    Parameters
    ----------
    checkpoint
        `SEQ:HASH` of the log's lines `audit_checkpoint`: places that the rows must still have. The
        checkpoints in the rows are held against them anyway.
    """
    marks = [_link(text) for text in checkpoint or ()]
    verdict = asyncio.run(_verdict(marks))
    if json:
        print_json(_shown(verdict))
    else:
        print(f"{verdict.calls} calls in {verdict.rows} rows, {verdict.first} to {verdict.last.seq}")
        if verdict.faults:
            print_table(["row", "", "found"], [(one.seq, one.kind, one.means) for one in verdict.faults])
        else:
            print(f"the chain holds; it ends with {verdict.last}")
    return 0 if verdict.whole else 1


def _shown(verdict: Verdict) -> dict[str, Any]:
    return {
        "whole": verdict.whole,
        "calls": verdict.calls,
        "rows": verdict.rows,
        "first": verdict.first,
        "last": str(verdict.last),
        "faults": verdict.faults,
    }


def _link(text: str) -> Link:
    try:
        return Link.parse(text)
    except ValueError:
        raise CommandError(f"--checkpoint: {text!r} must be SEQ:HASH, as the log has it") from None


async def _verdict(marks: list[Link]) -> Verdict:
    engine = open_engine(with_embedded(load_settings()).database_url)
    try:
        return await chain.verify(engine, marks=marks)
    except (SQLAlchemyError, OSError) as error:
        cause = getattr(error, "orig", None) or error
        raise CommandError(f"the audit can't be read: {cause}: is the server up and migrated?") from error
    finally:
        await engine.dispose()
