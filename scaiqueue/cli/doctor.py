"""`scaiqueue doctor`: is everything fit to keep messages?"""

from __future__ import annotations

import asyncio

from scaiqueue.cli.checks import Finding, check_key, check_redis, check_rows
from scaiqueue.cli.output import Json, print_json, print_table
from scaiqueue.embedded.data_folder import with_embedded
from scaiqueue.settings import Settings, load_settings


def doctor(*, json: Json = False) -> int:
    """Check servers and settings; exit status 0 if all is well, 1 if something is bad."""
    findings = asyncio.run(_examine(with_embedded(load_settings())))
    if json:
        print_json(findings)
    else:
        print_table(["check", "", "found"], [(one.check, one.state, one.found) for one in findings])
        for one in findings:
            if one.remedy:
                print(f"\n{one.check}: {one.remedy}")
    return 1 if any(one.state == "bad" for one in findings) else 0


async def _examine(settings: Settings) -> list[Finding]:
    redis, rows = await asyncio.gather(check_redis(settings), check_rows(settings))
    return [*check_key(settings), *redis, *rows]
